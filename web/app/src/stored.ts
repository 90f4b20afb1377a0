/** The text of an outbox, as far as it must be known to make one of two; the client itself reads the entries. */
import { OUTBOX_ENTRIES_MAX } from "@safeshipper/client";
