// Parameters as the text that tools of this field read and write (AUTOMATIC1111's layout): the prompt, a line of what to
// avoid, and one line of fields. Prompts that this layout cannot tell apart are repeated in two fields of our own.

import { schedulerAliases, schedulerOfSampler } from '../schedulers/aliases.ts';
import type { PictureParameters } from './parameters.ts';

/** Characters of a text at most, and fields of its last line: a file of others may hold anything. */
const maxText = 2 ** 18;
const maxFields = 200;
/** Fields from which on the last line of a text counts as one of fields, as in other tools. */
const fewestFields = 3;

const negativeMark = 'Negative prompt:';
const exactPrompt = 'Darkroom prompt';
const exactNegative = 'Darkroom negative prompt';

/** The text of parameters. */
export function parametersText(parameters: PictureParameters): string {
  const { prompt, negativePrompt } = parameters;
  const fields = fieldsOf(parameters);
  const shown = negativePrompt === undefined ? prompt : `${prompt}\n${negativeMark} ${negativePrompt}`;
  const read = splitPrompts(shown);
  const isExact = read.prompt === prompt && read.negativePrompt === negativePrompt;
  if (!isExact || fields.length < fewestFields) {
    fields.push([exactPrompt, JSON.stringify(prompt)]);
    if (negativePrompt !== undefined) fields.push([exactNegative, JSON.stringify(negativePrompt)]);
  }
  return `${shown}\n${fields.map(([key, value]) => `${key}: ${value}`).join(', ')}`;
}

type Field = [key: string, value: string];

function fieldsOf(p: PictureParameters): Field[] {
  const alias = Object.hasOwn(schedulerAliases, p.scheduler ?? '')
    ? schedulerAliases[p.scheduler!]
    : undefined;
  const size = p.width !== undefined && p.height !== undefined ? `${p.width}x${p.height}` : undefined;
  const all: [string, string | number | bigint | undefined][] = [
    ['Steps', p.steps],
    ['Sampler', alias?.sampler ?? p.scheduler],
    ['Schedule type', alias?.scheduleType],
    ['CFG scale', p.guidanceScale],
    ['Seed', p.seed],
    ['Size', size],
    ['Model', p.model],
    ['Denoising strength', p.strength],
    ['Clip skip', p.clipSkip === undefined ? undefined : p.clipSkip + 1],
    ['CFG rescale', p.guidanceRescale],
    ['Eta', p.eta],
    ['Batch size', p.batchSize],
    ['Batch pos', p.batchIndex],
    ...Object.entries(p.other ?? {}).filter(([key]) => isKey(key) && !ownKeys.has(key)),
    ['Version', p.version],
  ];
  return all.filter(([, value]) => value !== undefined).map(([key, value]) => [key, quoted(String(value))]);
}

const ownKeys = new Set([
  ...['Steps', 'Sampler', 'Schedule type', 'CFG scale', 'Seed', 'Size', 'Model', 'Denoising strength'],
  ...['Clip skip', 'CFG rescale', 'Eta', 'Batch size', 'Batch pos', 'Version', exactPrompt, exactNegative],
]);
const isKey = (text: string): boolean => /^\w[\w \-/]+$/.test(text) && text.trim() === text;

/** A value that a comma, a colon or a line's end would cut off, as JSON. */
function quoted(value: string): string {
  const isPlain = value.trim() === value && value !== '' && !/[",:\\]|\p{Cc}|\u2028|\u2029/u.test(value);
  return isPlain ? value : JSON.stringify(value);
}

/** The parameters that a text tells of; undefined where it tells of none. Never throws. */
export function parseParameters(text: string): PictureParameters | undefined {
  if (text.length > maxText) return undefined;
  const trimmed = text.replace(/[\s\0]+$/, '');
  const end = trimmed.lastIndexOf('\n');
  const fields = readFields(trimmed.slice(end + 1));
  if (fields.size < fewestFields && !fields.has(exactPrompt)) return undefined;
  const { prompt, negativePrompt } = splitPrompts(trimmed.slice(0, Math.max(0, end)));
  const negative = fields.get(exactPrompt) === undefined ? negativePrompt : fields.get(exactNegative);
  return defined({
    prompt: fields.get(exactPrompt) ?? prompt,
    negativePrompt: negative,
    ...known(fields),
  });
}

/** What stands before the fields: the prompt, and behind a line that begins with its mark what to avoid. */
function splitPrompts(text: string): { prompt: string; negativePrompt: string | undefined } {
  const at = text.startsWith(negativeMark) ? 0 : text.indexOf(`\n${negativeMark}`) + 1;
  if (at === 0 && !text.startsWith(negativeMark)) return { prompt: text, negativePrompt: undefined };
  const negative = text.slice(at + negativeMark.length);
  return {
    prompt: text.slice(0, Math.max(0, at - 1)),
    negativePrompt: negative.startsWith(' ') ? negative.slice(1) : negative,
  };
}

function readFields(line: string): Map<string, string> {
  const fields = new Map<string, string>();
  const pattern = /\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)/y;
  while (fields.size < maxFields) {
    const found = pattern.exec(line);
    if (!found) break;
    if (!fields.has(found[1]!)) fields.set(found[1]!, unquoted(found[2]!));
  }
  return fields;
}

function unquoted(value: string): string {
  if (!value.startsWith('"')) return value.trim();
  try {
    const text: unknown = JSON.parse(value);
    return typeof text === 'string' ? text : value;
  } catch {
    return value.trim();
  }
}

/** The fields that we know, checked; the rest under `other`. */
function known(fields: Map<string, string>): Omit<PictureParameters, 'prompt'> {
  const number = (key: string, accept: (value: number) => boolean): number | undefined => {
    const text = fields.get(key);
    const value = text === undefined || text.trim() === '' ? NaN : Number(text);
    return Number.isFinite(value) && accept(value) ? value : undefined;
  };
  const whole =
    (least: number) =>
    (value: number): boolean =>
      Number.isSafeInteger(value) && value >= least;
  const any = (): boolean => true;
  const [, width, height] = /^(\d{1,6})x(\d{1,6})$/.exec(fields.get('Size') ?? '') ?? [];
  const [sampler, type] = [fields.get('Sampler'), fields.get('Schedule type')];
  const alias = sampler === undefined ? undefined : schedulerOfSampler(sampler, type);
  const skip = number('Clip skip', whole(2));
  const unused = ['__proto__', 'prototype', 'constructor'];
  const others = [...fields].filter(
    ([key]) =>
      !unused.includes(key) && (!ownKeys.has(key) || (key === 'Schedule type' && alias === undefined)),
  );
  return defined({
    steps: number('Steps', whole(1)),
    scheduler: alias ?? sampler,
    guidanceScale: number('CFG scale', any),
    guidanceRescale: number('CFG rescale', any),
    eta: number('Eta', any),
    clipSkip: skip === undefined ? undefined : skip - 1,
    seed: seedOf(fields.get('Seed')),
    batchSize: number('Batch size', whole(1)),
    batchIndex: number('Batch pos', whole(0)),
    width: width === undefined ? undefined : Number(width),
    height: height === undefined ? undefined : Number(height),
    strength: number('Denoising strength', any),
    model: fields.get('Model'),
    version: fields.get('Version'),
    other: others.length > 0 ? Object.fromEntries(others) : undefined,
  });
}

/** A seed of 64 bits at most: a number where that holds it. */
function seedOf(text: string | undefined): number | bigint | undefined {
  if (text === undefined || !/^\d{1,20}$/.test(text)) return undefined;
  const value = BigInt(text);
  if (value >= 2n ** 64n) return undefined;
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

/** The record without what is undefined. */
function defined<T extends object>(record: T): Defined<T> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as Defined<T>;
}
