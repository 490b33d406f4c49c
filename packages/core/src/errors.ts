// The error classes of Darkroom, one per reaction a caller may have, and the helpers that word them.
// A message names the op or file, the rule, and both values. `internal:` marks a bug of ours.

/** The base of all errors that this library throws on purpose. */
export class DarkroomError extends Error {
  override name = 'DarkroomError';
}
/** Shapes, axes or sizes do not fit the op. */
export class ShapeError extends DarkroomError {
  override name = 'ShapeError';
}
/** A dtype is not one the op takes. */
export class DTypeError extends DarkroomError {
  override name = 'DTypeError';
}
/** An argument other than a tensor is out of its range (a step count, a guidance scale, an option name). */
export class ArgumentError extends DarkroomError {
  override name = 'ArgumentError';
}
/** A device call failed, or a tensor is on another device than the op needs. */
export class DeviceError extends DarkroomError {
  override name = 'DeviceError';
}
/** Neither the device nor a decomposition can run this op. */
export class UnsupportedOpError extends DarkroomError {
  override name = 'UnsupportedOpError';
}
/** A tensor was used after it was disposed. */
export class UseAfterDisposeError extends DarkroomError {
  override name = 'UseAfterDisposeError';
}
/** The device has no room, even after its cache was dropped. */
export class OutOfMemoryError extends DarkroomError {
  override name = 'OutOfMemoryError';
}
/** A file (weights, config, graph) is damaged, hostile or of an unknown kind. */
export class FormatError extends DarkroomError {
  override name = 'FormatError';
}

/** Throws an `internal:` error when one of our own assumptions fails. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new DarkroomError(`internal: ${message}`);
}

/** `[2,4,8,8]`, as shapes stand in every message. */
export function formatShape(shape: readonly number[]): string {
  return `[${shape.join(',')}]`;
}

/** Text from a file or a caller, cut to `room` characters for a message. */
export function shorten(text: string, room = 100): string {
  return text.length > room ? `${text.slice(0, room - 3)}...` : text;
}

/** The JSON of a value, cut to about a line: a message never repeats a hostile file. */
export function shortJson(value: unknown, room = 100): string {
  return shorten(renderUpTo(value, room), room);
}

/** The JSON of `value`, or more than `room` characters of its start. */
function renderUpTo(value: unknown, room: number): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, Math.max(0, room) + 1));
  if (typeof value !== 'object' || value === null) return String(value);
  const list = Array.isArray(value);
  let out = list ? '[' : '{';
  for (const key in value) {
    if (out.length > room) return out;
    if (out.length > 1) out += ',';
    if (!list) out += `${renderUpTo(key, room - out.length)}:`;
    out += renderUpTo((value as Record<string, unknown>)[key], room - out.length);
  }
  return out + (list ? ']' : '}');
}
