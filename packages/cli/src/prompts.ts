// The prompts of a command line: the argument, standard input, or the lines of a file.

import { readFile } from 'node:fs/promises';
import { UsageError } from './usage.ts';

const maxBytes = 2 ** 20;
const maxPrompts = 1000;

/**
 * One prompt, or one for each line of a file. '-' is standard input: as the argument its whole text is one prompt.
 * @throws UsageError for two sources, none, and files without a prompt
 */
export async function readPrompts(
  argument: string | undefined,
  file: string | undefined,
): Promise<readonly string[]> {
  if (argument !== undefined && file !== undefined)
    throw new UsageError('--prompt-file: holds the prompts; leave the prompt on the command line out');
  if (argument === '-') {
    const text = (await read('-')).trim();
    if (text === '') throw new UsageError('the prompt -: standard input holds none');
    return [text];
  }
  if (argument !== undefined) return [argument];
  const lines = (await read(file!)).split(/\r?\n/).map((line) => line.trim());
  const prompts = lines.filter((line) => line !== '');
  if (prompts.length === 0) throw new UsageError(`--prompt-file: ${file} holds no prompt`);
  if (prompts.length > maxPrompts)
    throw new UsageError(
      `--prompt-file: ${file} holds ${prompts.length} prompts; at most ${maxPrompts} are drawn`,
    );
  return prompts;
}

async function read(path: string): Promise<string> {
  if (path === '-' && process.stdin.isTTY)
    throw new UsageError('the prompt is read from standard input, which is a terminal: pipe it in');
  const bytes = path === '-' ? await fromStdin() : await readFile(path);
  if (bytes.length > maxBytes)
    throw new UsageError(
      `the prompts of ${path}: at most ${maxBytes} bytes are read, got ${bytes.length} or more`,
    );
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new UsageError(`the prompts of ${path}: must be text in UTF-8`);
  }
}

async function fromStdin(): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of process.stdin as AsyncIterable<Uint8Array>) {
    parts.push(part);
    bytes += part.length;
    if (bytes > maxBytes) break;
  }
  return Buffer.concat(parts);
}
