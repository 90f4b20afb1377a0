/**
 * Small runtime checks that TypeScript believes: a shape is written once and is both the check and the type.
 */

export type Check<T> = (value: unknown) => value is T;

/** The type that a check proves. */
export type Checked<C> = C extends Check<infer T> ? T : never;

export const isText: Check<string> = (value): value is string => typeof value === "string";

export const isFlag: Check<boolean> = (value): value is boolean => typeof value === "boolean";

/** A whole number from 0 that JavaScript can hold exactly. */
export const isCount: Check<number> = (value): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

/** Proves one text and no other. */
export function word<W extends string>(text: W): Check<W> {
  return (value): value is W => value === text;
}

/** Proves what one of the checks proves. */
export function oneOf<C extends readonly Check<unknown>[]>(...checks: C): Check<Checked<C[number]>> {
  return (value): value is Checked<C[number]> => checks.some((check) => check(value));
}

/** Null and absent mean the same on the wire. */
export function optional<T>(check: Check<T>): Check<T | null | undefined> {
  return (value): value is T | null | undefined => value === undefined || value === null || check(value);
}

export function listOf<T>(check: Check<T>): Check<readonly T[]> {
  return (value): value is readonly T[] => Array.isArray(value) && value.every((item: unknown) => check(item));
}

/** Proves an object whose names are free and whose values are alike. */
export function recordOf<T>(check: Check<T>): Check<Readonly<Record<string, T>>> {
  return (value): value is Readonly<Record<string, T>> => isRecord(value) && Object.values(value).every(check);
}

type Shape = Readonly<Record<string, Check<unknown>>>;

/** Proves the named fields of an object; further fields are none of its business. */
export function shape<S extends Shape>(fields: S): Check<{ readonly [K in keyof S]: Checked<S[K]> }> {
  const checks = Object.entries(fields);
  return (value): value is { readonly [K in keyof S]: Checked<S[K]> } =>
    isRecord(value) && checks.every(([name, check]) => check(value[name]));
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Parses JSON; undefined, which JSON cannot express, when it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
