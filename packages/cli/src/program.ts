// Runs a command line: errors in one line, exit codes 0 done, 1 failed, 2 wrong use (before anything is loaded), 130
// interrupted.

import { CommanderError } from 'commander';
import type { Command } from 'commander';
import { DarkroomError } from '@darkroom/core';
import { UsageError } from './usage.ts';

/**
 * Parses `words`, by default the process's arguments, with `program` and its subcommands, runs what they name, and sets the exit code.
 * @throws what is neither a usage error, a DarkroomError, an error of the system nor an interruption.
 */
export async function runProgram(
  program: Command,
  words: readonly string[] = process.argv.slice(2),
): Promise<void> {
  for (const command of [program, ...program.commands]) command.exitOverride();
  // Exit quietly if the reader of stdout closes early (`| head`).
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  process.exitCode = await exitCode(program, words);
}

async function exitCode(program: Command, words: readonly string[]): Promise<number> {
  try {
    await program.parseAsync(words, { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (error instanceof Error && error.name === 'AbortError') {
      process.stderr.write('\ninterrupted\n');
      return 130;
    }
    if (error instanceof DarkroomError || (error as { code?: string }).code) {
      process.stderr.write(`darkroom: ${(error as Error).message}\n`);
      return error instanceof UsageError ? 2 : 1;
    }
    throw error;
  }
}
