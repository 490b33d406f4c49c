// What a picture tells of how it was drawn: `darkroom inspect` prints it, `darkroom generate --from` draws it again.

import { Command } from 'commander';
import { Image, isHubId, schedulerAliases, schedulerClasses } from '@darkroom/diffusers';
import type { CallOptions, PictureParameters } from '@darkroom/diffusers';
import { DarkroomError } from '@darkroom/core';
import { UsageError } from './usage.ts';

/** Name of the embedded model in pictures. */
export const embeddedModel = 'emoji-64';

export function inspectCommand(): Command {
  return new Command('inspect')
    .description('print how a picture was drawn: its prompt, seed, steps and the rest')
    .argument('<files...>', 'PNG, JPEG or WebP')
    .option('--json', 'as JSON: a list of records')
    .action(async (files: string[], { json }: { json?: boolean }) => {
      const read = [];
      for (const file of files) read.push({ file, ...(await readParameters(file)) });
      const text = json
        ? JSON.stringify(read, (_, v: unknown) => (typeof v === 'bigint' ? String(v) : v), 2)
        : read.map((one) => printed(one, files.length > 1)).join('\n\n');
      process.stdout.write(`${text}\n`);
    });
}

/** @throws DarkroomError where the picture tells nothing, FormatError where it is none */
export async function readParameters(path: string): Promise<PictureParameters> {
  const { parameters } = await Image.load(path);
  if (!parameters)
    throw new DarkroomError(
      `${path}: does not tell how it was drawn (it has no parameters beside its pixels)`,
    );
  return parameters;
}

/** Text of a stranger's file without control characters and turns of direction, which could steer the terminal. */
const printable = (text: string): string =>
  text.replace(/(?!\n)[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, '\ufffd');
/** The same in a message: short, in one line. */
const named = (text: string): string => `'${printable(text.slice(0, 80)).replaceAll('\n', ' ')}'`;

function printed({ file, other, ...rest }: PictureParameters & { file: string }, showsFile: boolean): string {
  const lines = [...Object.entries(rest), ...Object.entries(other ?? {})].map(
    ([key, value]) => `${key.padEnd(15)} ${printable(String(value)).replaceAll('\n', '\n'.padEnd(17))}`,
  );
  return [...(showsFile ? [file] : []), ...lines].join('\n');
}

/** Parts of a call that no option of the command gives. */
export type TacitOptions = Pick<CallOptions, 'clipSkip' | 'guidanceRescale' | 'eta'>;

/** How to draw a picture again. */
export interface Again {
  readonly prompt: string;
  readonly tacit: TacitOptions;
  /** Where one seed drew several pictures: how many, and which one this is. */
  readonly batch?: { readonly size: number; readonly index: number };
}

/**
 * Sets the options that neither the command line nor its config gave to those that the picture at `path` tells of.
 * @throws UsageError for what the picture needs and does not hold
 */
export async function applyPicture(command: Command, path: string): Promise<Again> {
  const told = await readParameters(path);
  const isOpen = (key: string): boolean => ['default', undefined].includes(command.getOptionValueSource(key));
  const set = (key: string, value: unknown): void => {
    if (value !== undefined && isOpen(key)) command.setOptionValueWithSource(key, value, 'picture');
  };
  const isBatch = told.batchSize !== undefined && told.batchIndex !== undefined && isOpen('seed');
  if (isOpen('image') && told.strength !== undefined)
    throw new UsageError(`--from: ${path} was drawn over another picture; give that with --image`);
  if (isOpen('scheduler') && told.scheduler !== undefined && !isScheduler(told.scheduler))
    throw new UsageError(
      `--from: ${path} was drawn with the sampler ${named(told.scheduler)}, which is not here; choose one with --scheduler`,
    );
  if (isOpen('model')) set('model', modelOf(path, told.model));
  set('negative', told.negativePrompt);
  set('steps', told.steps);
  set('guidance', told.guidanceScale);
  set('seed', told.seed === undefined ? undefined : BigInt(told.seed));
  set('scheduler', told.scheduler);
  set('width', told.width);
  set('height', told.height);
  set('strength', told.strength);
  const { clipSkip, guidanceRescale, eta, batchSize: size = 1, batchIndex: index = 0 } = told;
  return {
    prompt: told.prompt,
    tacit: {
      ...(clipSkip !== undefined && { clipSkip }),
      ...(guidanceRescale !== undefined && { guidanceRescale }),
      ...(eta !== undefined && { eta }),
    },
    ...(isBatch && index < size && size <= 64 && { batch: { size, index } }),
  };
}

const isScheduler = (name: string): boolean =>
  Object.hasOwn(schedulerAliases, name) || Object.hasOwn(schedulerClasses, name);

/**
 * The model to load: undefined is the embedded one. Nothing but a hub id is taken from a picture, which may be a
 * stranger's: no path, no address.
 */
function modelOf(path: string, model: string | undefined): string | undefined {
  if (model === embeddedModel) return undefined;
  if (model !== undefined && model.includes('/') && isHubId(model)) return model;
  throw new UsageError(
    model === undefined
      ? `--from: ${path} does not tell its model; give that with --model`
      : `--from: ${path} was drawn with the model ${named(model)}, and does not tell where that is; give it with --model`,
  );
}
