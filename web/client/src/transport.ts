/** The browser's WebSocket as a transport; the only file that knows it. */
import type { TransportFactory } from "./types.ts";

export const webSocketTransport: TransportFactory = ({ url, protocols }, events) => {
  const socket = new WebSocket(url, [...protocols]);
  socket.onopen = () => events.opened();
  socket.onmessage = ({ data }: MessageEvent<unknown>) => {
    if (typeof data === "string") events.received(data);
  };
  socket.onclose = ({ code, reason }) => events.closed(code, reason);
  return {
    send(text) {
      // A socket that just left the open state says so by `onclose`; what was sent into it is resent then.
      if (socket.readyState === WebSocket.OPEN) socket.send(text);
    },
    close(code, reason) {
      socket.close(code, reason);
    },
  };
};
