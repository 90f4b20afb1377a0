import { ChatClient } from "@safeshipper/client";
import type { OutboxStorage } from "@safeshipper/client";
import { ChatProvider } from "@safeshipper/react";
import { useEffect, useState } from "react";
import type { ReactElement } from "react";
import { Chat } from "./Chat.tsx";
import { Chooser } from "./Chooser.tsx";
import { SignInError, listPeople, tokenFor } from "./people.ts";
import type { Person } from "./people.ts";
import { openOutbox } from "./storage.ts";

type People =
  | { state: "loading" }
  | { state: "there"; people: readonly Person[] }
  | { state: "refused"; error: SignInError };

export function App(props: { as: string | null }): ReactElement {
  const [people, setPeople] = useState<People>({ state: "loading" });
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    let current = true;
    listPeople().then(
      (there) => current && setPeople({ state: "there", people: there }),
      (error: unknown) => current && setPeople({ state: "refused", error: asSignInError(error) }),
    );
    return () => {
      current = false;
    };
  }, [attempt]);

  if (people.state === "loading") return <p className="splash">Loading…</p>;
  if (people.state === "refused") {
    return <Refused error={people.error} onRetry={() => setAttempt(attempt + 1)} />;
  }
  const person = people.people.find((one) => one.id === props.as);
  if (person === undefined) return <Chooser people={people.people} unknown={props.as} />;
  return <SignedIn key={person.id} person={person} people={people.people} />;
}

function SignedIn(props: { person: Person; people: readonly Person[] }): ReactElement {
  const { person, people } = props;
  const [client, setClient] = useState<ChatClient | null>(null);
  useEffect(() => {
    const leaving = new AbortController();
    openOutbox(person.id, leaving.signal).then((storage) => {
      if (!leaving.signal.aborted) setClient(clientOf(person, storage));
    });
    return () => leaving.abort();
  }, [person]);
  if (client === null) return <p className="splash">Loading…</p>;
  return (
    <ChatProvider client={client}>
      <Chat person={person} people={people} />
    </ChatProvider>
  );
}

function clientOf(person: Person, storage: OutboxStorage): ChatClient {
  const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/chat/`;
  return new ChatClient({ url, token: () => tokenFor(person.id), storage });
}

function Refused(props: { error: SignInError; onRetry: () => void }): ReactElement {
  return (
    <main className="people">
      <h1>Signing in is not possible here</h1>
      <p role="alert">{props.error.message}</p>
      {props.error.kind === "not_available" ? (
        <p>Open the chat from your SafeShipper application instead.</p>
      ) : (
        <button type="button" className="primary" onClick={props.onRetry}>
          Try again
        </button>
      )}
    </main>
  );
}

function asSignInError(error: unknown): SignInError {
  return error instanceof SignInError ? error : new SignInError("unreachable", String(error));
}
