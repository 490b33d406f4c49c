// How large a JSON text is once parsed, told before it is: a hostile text is twenty times as large in memory, or nested so
// deeply that recursive code behind it exhausts the stack.

export interface JsonSize {
  /** Lists and objects around the innermost value. */
  readonly depth: number;
  /** Values, keys of objects not counted; about right for what is not JSON. */
  readonly values: number;
}

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
