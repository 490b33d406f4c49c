// Limits of the sizes in a config. Each is far above every published model of these families (the comments give the
// largest). The largest model allowed is built without weights in about a second, and weights are allocated only after
// a file was found to hold them: a hostile config cannot exhaust the process.

import { FormatError } from '@darkroom/core';
import type { AnyModule } from '@darkroom/core';
import type { Range } from './config.ts';

/** Resolutions of a UNet or VAE; published: 4. */
export const maxLevels = 16;
/** Channels, widths of embeddings and of attention; published: 1280 channels, 5120 in a text encoder. */
export const widths: Range = [1, 65_536];
/** Widths of several embeddings joined; published: 2816. */
export const joinedWidths: Range = [1, 8 * 65_536];
/** Residual layers of a level; published: 2. */
export const layersOfLevel: Range = [1, 64];
/** Transformer layers behind one residual layer; published: 10. */
export const transformerLayers: Range = [0, 256];
/** All transformer layers of a UNet; published: 70. */
export const maxTransformerLayers = 4096;
/** Layers of a text encoder; published: 32. */
export const textLayers: Range = [1, 512];
/** Rows of a table of embeddings; published: 49,408. */
export const tableRows: Range = [1, 2 ** 24];
/** Edge of a picture or of latents, in elements; published: 1024. */
export const edges: Range = [1, 65_536];
/** Epsilons of norms; published: 1e-5. */
export const epsilons: Range = [0, 1];
/** Factors of layers and latents: none divides by zero. */
export const factors: Range = [1e-9, 1e9];

/** Parameters of a model; published: 2.6 billion. */
const maxParameters = 100e9;

/**
 * Returns `model`, which has no weights yet.
 * @throws FormatError if it has more than maxParameters; `keys` are blamed.
 */
export function checkParameterCount<M extends AnyModule>(model: M, source: string, keys: string): M {
  let count = 0;
  for (const [, { elements }] of model.namedParameters()) count += elements;
  if (!(count <= maxParameters))
    throw new FormatError(
      `${source}: ${keys} describe ${count.toPrecision(3)} parameters, at most ${maxParameters} can be built`,
    );
  return model;
}
