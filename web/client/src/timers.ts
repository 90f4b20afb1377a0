/** Timers that are easy to be rid of. */
import type { Timers } from "./types.ts";

export const platformTimers: Timers = {
  after(delayMs, callback) {
    const id = setTimeout(callback, delayMs);
    return () => clearTimeout(id);
  },
};

/** At most one timer: setting it anew replaces it. */
export class Alarm {
  private cancelPending: () => void = () => {};

  constructor(private readonly timers: Timers) {}

  set(delayMs: number, callback: () => void): void {
    this.cancel();
    this.cancelPending = this.timers.after(delayMs, callback);
  }

  cancel(): void {
    this.cancelPending();
    this.cancelPending = () => {};
  }
}

/** One alarm per name. */
export class Alarms {
  private readonly alarms = new Map<string, Alarm>();

  constructor(private readonly timers: Timers) {}

  set(name: string, delayMs: number, callback: () => void): void {
    this.cancel(name);
    const alarm = new Alarm(this.timers);
    this.alarms.set(name, alarm);
    alarm.set(delayMs, () => {
      this.alarms.delete(name);
      callback();
    });
  }

  cancel(name: string): void {
    this.alarms.get(name)?.cancel();
    this.alarms.delete(name);
  }

  cancelAll(): void {
    for (const alarm of this.alarms.values()) alarm.cancel();
    this.alarms.clear();
  }
}
