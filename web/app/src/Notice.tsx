import type { ReactElement } from "react";

/** The last fault that a person should read, until it is put away. */
export function Notice(props: { text: string | null; onDismiss: () => void }): ReactElement {
  const { text } = props;
  return (
    <div className="notice" role="alert" hidden={text === null}>
      {text !== null && (
        <>
          <span>{text}</span>
          <button type="button" onClick={props.onDismiss}>
            Dismiss
          </button>
        </>
      )}
    </div>
  );
}
