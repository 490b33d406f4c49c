// The size of a JSON text, counted before it is parsed: a hostile text takes twenty times its length in memory, or is
// nested so deeply that recursive code exhausts the stack.

/** Nesting and number of values of a JSON text. */
export interface JsonSize {
  /** Levels of nesting: the lists and objects that hold the innermost value. */
  readonly depth: number;
  /** Number of values, without the keys of objects; an estimate where the text is not JSON. */
  readonly values: number;
}

/** Depth and number of values of a JSON text, without parsing it. Never throws, also for text that is not JSON. */
export function jsonSize(text: string): JsonSize {
  let [depth, deepest, values, isString] = [0, 0, 1, false];
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === quote) isString = !isString;
    else if (isString) i += c === backslash ? 1 : 0;
    else if (c === comma) values++;
    else if (c === openList || c === openObject) {
      values++;
      if (++depth > deepest) deepest = depth;
    } else if (c === closeList || c === closeObject) depth--;
  }
  return { depth: deepest, values };
}

const [quote, backslash, comma, openList, closeList, openObject, closeObject] = [
  ...new TextEncoder().encode('"\\,[]{}'),
] as [number, number, number, number, number, number, number];
