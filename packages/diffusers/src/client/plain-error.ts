// Errors between a worker and its page: posting one keeps neither its class nor its name.

import {
  ArgumentError,
  DarkroomError,
  DeviceError,
  DTypeError,
  FormatError,
  OutOfMemoryError,
  ShapeError,
  UnsupportedOpError,
  UseAfterDisposeError,
} from '@darkroom/core';

/** An error as it is posted. */
export interface PlainError {
  readonly name: string;
  readonly message: string;
  /** Where it was thrown in the worker. */
  readonly stack: string | undefined;
}

const classes: Readonly<Record<string, new (message: string) => Error>> = {
  ArgumentError,
  DarkroomError,
  DeviceError,
  DTypeError,
  FormatError,
  OutOfMemoryError,
  ShapeError,
  UnsupportedOpError,
  UseAfterDisposeError,
  RangeError,
  TypeError,
  SyntaxError,
};

/** `error` without its class. */
export function plainError(error: unknown): PlainError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error), stack: undefined };
  return { name: error.name, message: error.message, stack: error.stack };
}

/** The error again: of the same class where this library or the language has it, else an Error of that name. */
export function errorOf({ name, message, stack }: PlainError): Error {
  const known = Object.hasOwn(classes, name) ? classes[name]! : Error;
  const error = new known(message);
  if (error.name !== name) Object.defineProperty(error, 'name', { value: name, configurable: true });
  if (stack !== undefined) Object.defineProperty(error, 'stack', { value: stack, configurable: true });
  return error;
}
