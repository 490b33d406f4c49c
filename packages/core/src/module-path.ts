// The path of the running module (`unet.down_blocks.0.resnets.1`), which stands in every error of an op.

import { DarkroomError } from './errors.ts';

const stack: string[] = [];

/** The dotted path of the running module; empty outside of modules. */
export function currentModule(): string {
  return stack.join('.');
}

/** Runs `body` inside module `name`. */
export function inModule<T>(name: string, body: () => T): T {
  if (name === '') return body();
  stack.push(name);
  try {
    return body();
  } catch (error) {
    // The innermost module puts its path in front, once.
    if (error instanceof DarkroomError && !error.message.startsWith('[')) {
      error.message = `[${currentModule()}] ${error.message}`;
    }
    throw error;
  } finally {
    stack.pop();
  }
}
