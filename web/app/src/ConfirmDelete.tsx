import type { MessageView } from "@safeshipper/client";
import { useLayoutEffect, useRef } from "react";
import type { ReactElement } from "react";
import { contentOf } from "./names.ts";

interface ConfirmDeleteProps {
  message: MessageView;
  onDelete: () => void;
  onClose: () => void;
}

/** Asks first: nobody brings a deleted message back. */
export function ConfirmDelete(props: ConfirmDeleteProps): ReactElement {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);
  return (
    <dialog ref={dialog} className="confirm" aria-labelledby="confirm-title" onCancel={props.onClose}>
      <h2 id="confirm-title">Delete this message for everybody?</h2>
      <p className="quote">{contentOf(props.message)}</p>
      <div className="choices">
        <button type="button" onClick={props.onClose} autoFocus>
          Cancel
        </button>
        <button type="button" className="danger" onClick={props.onDelete}>
          Delete
        </button>
      </div>
    </dialog>
  );
}
