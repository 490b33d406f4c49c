// --config run.json: the options of a command line in a file, by their long names. What the command line says itself
// comes first.

import { readFile } from 'node:fs/promises';
import { InvalidArgumentError } from 'commander';
import type { Command, Option } from 'commander';
import { hint } from '@darkroom/core';
import { UsageError } from './usage.ts';

const maxBytes = 2 ** 20;

/** Sets the options that a file gives; returns its prompt. @throws UsageError naming the file and the key */
export async function applyConfig(command: Command, path: string): Promise<string | undefined> {
  const record = await readRecord(path);
  const known = command.options.filter((option) => option.attributeName() !== 'config');
  const options = new Map(known.flatMap((option) => namesOf(option).map((name) => [name, option] as const)));
  let prompt: string | undefined;
  for (const [key, value] of Object.entries(record)) {
    if (key === 'prompt') {
      if (typeof value !== 'string') throw new UsageError(`--config: ${path}: prompt must be a text`);
      prompt = value;
      continue;
    }
    const name = key.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);
    const option = options.get(name);
    if (!option)
      throw new UsageError(
        `--config: ${path}: there is no option '${key.slice(0, 60)}'${hint(key, [...options.keys()])}`,
      );
    set(command, option, name.startsWith('no-'), value, `--config: ${path}: ${key}`);
  }
  return prompt;
}

/** The long name without dashes; of --no-parameters 'parameters' too, to be set to false. */
function namesOf(option: Option): string[] {
  const name = (option.long ?? option.short!).replace(/^--?/, '');
  return option.negate ? [name, name.replace(/^no-/, '')] : [name];
}

async function readRecord(path: string): Promise<Record<string, unknown>> {
  const bytes = await readFile(path);
  if (bytes.length > maxBytes)
    throw new UsageError(`--config: ${path}: at most ${maxBytes} bytes are read, got ${bytes.length}`);
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new UsageError(`--config: ${path}: is not JSON (${(error as Error).message})`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new UsageError(`--config: ${path}: must be an object of options, as { "steps": 30 }`);
  return value as Record<string, unknown>;
}

function set(command: Command, option: Option, isNegated: boolean, value: unknown, where: string): void {
  const key = option.attributeName();
  if (command.getOptionValueSource(key) === 'cli') return;
  const takesValue = option.required || option.optional;
  if (typeof value === 'boolean' && option.negate)
    return void command.setOptionValueWithSource(key, isNegated ? !value : value, 'config');
  if (typeof value === 'boolean' && !option.required) {
    if (value) command.setOptionValueWithSource(key, true, 'config');
    return;
  }
  if (!takesValue || (typeof value !== 'string' && typeof value !== 'number'))
    throw new UsageError(`${where}: must be ${takesValue ? 'a text or a number' : 'true or false'}`);
  try {
    const parsed: unknown = option.parseArg ? option.parseArg(String(value), undefined) : String(value);
    command.setOptionValueWithSource(key, parsed, 'config');
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    throw new UsageError(`${where}: ${error.message}`);
  }
}
