/** The client for React programs: a provider that keeps it connected, and a hook that shows what it knows. */
export { ChatProvider, useChat } from "./chat.tsx";
export type { Chat } from "./chat.tsx";
