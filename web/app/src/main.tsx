/** The /chat page: who are you, then the chat. */
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App.tsx";
import "./styles/base.css";
import "./styles/people.css";
import "./styles/layout.css";
import "./styles/channels.css";
import "./styles/connection.css";
import "./styles/messages.css";
import "./styles/message.css";
import "./styles/composer.css";
import "./styles/changes.css";
import "./styles/menu.css";
import "./styles/thread.css";

const root = document.getElementById("root");
if (root === null) throw new Error("the page has no place for the chat");
createRoot(root).render(
  <StrictMode>
    <App as={new URLSearchParams(location.search).get("as")} />
  </StrictMode>,
);
