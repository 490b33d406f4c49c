// Wrong use of the command, told before anything is loaded.

import { ArgumentError } from '@darkroom/core';

/** A command line that asks for what there is not: exit code 2. */
export class UsageError extends ArgumentError {
  override name = 'UsageError';
}

/** What `body` gives; its ArgumentErrors are those of the option. @throws UsageError */
export function usage<R>(option: string, body: () => R): R {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    throw new UsageError(`${option}: ${error.message}`);
  }
}
