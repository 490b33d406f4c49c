// Finds the files of a component's weights: one .safetensors, or shards named by an index; plain or of a variant.
// Pickles (.bin, .ckpt, .pt, .pth, .pkl) can run code when read: errors name them, and they are never opened.

import { FormatError, log, shorten } from '@darkroom/core';
import { checkPath } from './files.ts';
import type { ModelFiles } from './files.ts';
import { describeJson, isJsonObject, readJson } from './json.ts';

const pickle = /\.(bin|ckpt|pt|pth|pkl|pickle)$/;

/**
 * Paths of the weight files of `folder`, shards in the order of their names. `stem` is 'diffusion_pytorch_model' or
 * 'model'. With a variant ('fp16'), its files; or the plain ones, with a warning, if the folder has no file of the
 * variant.
 */
export async function weightFiles(
  files: ModelFiles,
  folder: string,
  stem: string,
  variant?: string,
): Promise<string[]> {
  if (variant !== undefined && !/^[\w-]+$/.test(variant))
    throw new FormatError(`variant: must be a word like 'fp16', got '${variant}'`);
  const prefix = folder === '' ? '' : `${checkPath(folder, files.describe())}/`;
  const plain = [`${stem}.safetensors`, `${stem}.safetensors.index.json`];
  const wanted = variant
    ? [
        `${stem}.${variant}.safetensors`,
        `${stem}.safetensors.index.${variant}.json`,
        `${stem}.${variant}.safetensors.index.json`,
      ]
    : plain;
  const present = await presentNames(files, folder, prefix, [...wanted, ...plain]);

  const chosen = wanted.find((name) => present.includes(name));
  if (chosen) return expand(files, prefix, chosen, present);

  const where = `${files.describe()}${folder === '' ? '' : `/${folder}`}`;
  if (variant) {
    const others = present.filter((name) => name.includes(`.${variant}.`) || name.includes(`.${variant}-`));
    if (others.length > 0)
      throw new FormatError(
        `${where}: no usable weights of variant '${variant}': ${explain(others, wanted)}`,
      );
    const fallback = plain.find((name) => present.includes(name));
    if (fallback) {
      log.warn(`${where}: has no weights of variant '${variant}', ${fallback} is used`);
      return expand(files, prefix, fallback, present);
    }
  }
  const names = files.list
    ? present
    : await presentNames(files, folder, prefix, [`${stem}.fp16.safetensors`]);
  const variants = variantsOf(names, stem);
  if (variants.length > 0)
    throw new FormatError(
      `${where}: has weights of ${variants.map((name) => `variant '${name}'`).join(' and ')} only: ask for variant: '${variants[0]}' (--variant ${variants[0]})`,
    );
  throw new FormatError(
    `${where}: no weights found: ${explain(present, [...new Set([...wanted, ...plain])])}`,
  );
}

/** The variants ('fp16') that the folder has weights of. */
function variantsOf(present: readonly string[], stem: string): string[] {
  const found = present.map((name) => {
    const rest = name.startsWith(`${stem}.`) ? name.slice(stem.length) : '';
    return /^\.([\w-]+?)(-\d+-of-\d+)?\.safetensors(\.index\.json)?$|^\.safetensors\.index\.([\w-]+)\.json$/.exec(
      rest,
    );
  });
  return [...new Set(found.map((match) => match?.[1] ?? match?.[4]).filter((name) => name !== undefined))];
}

function explain(present: readonly string[], wanted: readonly string[]): string {
  const pickles = present.filter((name) => pickle.test(name));
  const looked = `looked for ${wanted.join(', ')}`;
  if (pickles.length === 0) return looked;
  return `${looked}; there is only ${firstOf(pickles)}, and pickles are never loaded because reading one can run code: convert it to safetensors`;
}

/** The first five names of a list, for messages. */
function firstOf(names: readonly string[]): string {
  return names
    .slice(0, 5)
    .map((name) => shorten(name))
    .concat(names.length > 5 ? ['…'] : [])
    .join(', ');
}

/** Names of the files in the folder; if it cannot be listed, the first of the candidates that exists. */
async function presentNames(
  files: ModelFiles,
  folder: string,
  prefix: string,
  candidates: readonly string[],
): Promise<readonly string[]> {
  if (files.list) return files.list(folder);
  // One after another: a page's console shows every file that a server does not have.
  for (const name of candidates) if (await files.exists(prefix + name)) return [name];
  return [];
}

/** The weight files of `name`: itself, or the shards of an index. @throws FormatError for a bad index. */
async function expand(
  files: ModelFiles,
  prefix: string,
  name: string,
  present: readonly string[],
): Promise<string[]> {
  if (!name.endsWith('.json')) return [prefix + name];
  const index = await readJson(files, prefix + name);
  const where = `${files.describe()}/${prefix}${name}`;
  const map = index['weight_map'];
  if (!isJsonObject(map))
    throw new FormatError(`${where}: weight_map must be an object, found ${describeJson(map)}`);
  const shards = new Set<string>();
  for (const [key, shard] of Object.entries(map)) {
    if (typeof shard !== 'string' || shard.includes('/') || !shard.endsWith('.safetensors')) {
      throw new FormatError(
        `${where}: weight_map['${shorten(key)}'] must name a .safetensors file beside it, found ${describeJson(shard)}`,
      );
    }
    shards.add(checkPath(shard, where));
  }
  if (shards.size === 0) throw new FormatError(`${where}: weight_map names no files`);
  const sorted = [...shards].sort();
  const missing = files.list ? sorted.filter((shard) => !present.includes(shard)) : [];
  if (missing.length > 0)
    throw new FormatError(
      `${where}: ${missing.length} of ${sorted.length} shards are missing: ${firstOf(missing)}`,
    );
  return sorted.map((shard) => prefix + shard);
}
