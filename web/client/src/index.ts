/** The chat client without any user interface: connects, keeps order, keeps unsent messages. */
export { ChatClient } from "./client.ts";
export { webSocketTransport } from "./transport.ts";
export type * from "./types.ts";
