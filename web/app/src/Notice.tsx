import { useState } from "react";
import type { ReactElement } from "react";

/** The last fault that a person should read, until it is put away. */
export function Notice(props: { text: string | null }): ReactElement {
  const [dismissed, setDismissed] = useState<string | null>(null);
  const shown = props.text !== null && props.text !== dismissed;
  return (
    <div className="notice" role="alert" hidden={!shown}>
      {shown && (
        <>
          <span>{props.text}</span>
          <button type="button" onClick={() => setDismissed(props.text)}>
            Dismiss
          </button>
        </>
      )}
    </div>
  );
}
