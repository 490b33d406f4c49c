// Which module is running: the context that every error of an op carries (`unet.down_blocks.0.resnets.1`).

import { DarkroomError } from './errors.ts';

const stack: string[] = [];

/** The dotted path of the module that runs; empty outside of any. */
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
