import type { ReactElement } from "react";
import { Avatar } from "./Avatar.tsx";
import { roleName } from "./names.ts";
import type { Person } from "./people.ts";

/** Asks who one is; each answer is a link, so that a tab can be opened beside this one. */
export function Chooser(props: { people: readonly Person[]; unknown: string | null }): ReactElement {
  return (
    <main className="people">
      <img src="icon.svg" alt="" width="44" height="44" />
      <h1>SafeShipper chat</h1>
      {props.unknown !== null && (
        <p role="alert">
          Nobody here has the id <strong>{props.unknown}</strong>.
        </p>
      )}
      <p>Who are you? Open a second person in another tab to talk to yourself.</p>
      <ul>
        {props.people.map((person) => (
          <li key={person.id}>
            <a href={`?as=${encodeURIComponent(person.id)}`}>
              <Avatar id={person.id} name={person.name} />
              <span>
                <strong>{person.name}</strong>
                <small>
                  {roleName(person.role)} · {person.id}
                </small>
              </span>
            </a>
          </li>
        ))}
      </ul>
    </main>
  );
}
