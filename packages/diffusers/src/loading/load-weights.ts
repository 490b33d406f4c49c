// Weights of one component: opens its files, checks every key and shape against the model, then loads tensor by
// tensor onto the device. On any error nothing stays loaded.

import {
  checkStateDict,
  FormatError,
  formatShape,
  keep,
  openSafetensors,
  shorten,
  toHost,
} from '@darkroom/core';
import type { AnyModule, ByteSource, Device, DType, SafetensorsFile, Tensor } from '@darkroom/core';

/** Old or foreign key → the model's key; undefined drops the tensor (a buffer the model does not keep). */
export type KeyConversion = (key: string) => string | undefined;

export interface LoadProgress {
  (loadedBytes: number, totalBytes: number): void;
}

export async function loadWeights(
  model: AnyModule,
  sources: readonly ByteSource[],
  options: {
    device: Device;
    dtype?: DType | undefined;
    /** Leave the weights in host memory: each only passes through the device. */
    toHost?: boolean;
    convert?: KeyConversion;
    onProgress?: LoadProgress;
  },
): Promise<void> {
  const { device, dtype, convert = (key) => key } = options;
  const wanted = new Map([...model.namedParameters()].map(([key, t]) => [key, t.shape]));
  const where = await index(sources, convert, wanted);
  const names = sources.map((s) => s.name).join(', ');
  checkStateDict(wanted, new Map([...where].map(([key, { shape }]) => [key, { shape }])), names);
  for (const { file, key } of where.values()) file.dtypeOf(key); // an unreadable dtype is found before anything loads
  const total = [...where.values()].reduce((n, { file, key }) => n + size(file, key), 0);
  const loaded = new Map<string, Tensor>();
  let bytes = 0;
  try {
    for (const [name, { file, key, shape }] of where) {
      const raw = keep(await file.load(key, { device, ...(dtype && { dtype }) }));
      const fitted = formatShape(raw.shape) === formatShape(shape) ? raw : keep(raw.view(shape));
      if (fitted !== raw) raw.dispose();
      loaded.set(name, options.toHost ? await toHost(fitted) : fitted);
      if (options.toHost) fitted.dispose();
      options.onProgress?.((bytes += size(file, key)), total);
    }
    model.loadStateDict(loaded, names);
  } catch (error) {
    for (const t of loaded.values()) t.dispose();
    throw error;
  }
}

const size = (file: SafetensorsFile, key: string): number => file.entry(key).end - file.entry(key).begin;

interface Place {
  readonly file: SafetensorsFile;
  readonly key: string;
  readonly shape: readonly number[];
}

/** Model key → where it lies. A weight stored as a 1x1 convolution for a linear layer counts in the layer's shape. */
async function index(
  sources: readonly ByteSource[],
  convert: KeyConversion,
  wanted: ReadonlyMap<string, readonly number[]>,
): Promise<Map<string, Place>> {
  const where = new Map<string, Place>();
  for (const source of sources) {
    const file = await openSafetensors(source);
    for (const [key, entry] of file.entries) {
      const name = convert(key);
      if (name === undefined) continue;
      const other = where.get(name);
      if (other)
        throw new FormatError(
          `${file.name}: '${shorten(key)}' gives '${shorten(name)}', which ${other.file.name} gives too`,
        );
      const model = wanted.get(name);
      const is1x1 = model?.length === 2 && formatShape(entry.shape) === formatShape([...model, 1, 1]);
      where.set(name, { file, key, shape: is1x1 ? model : entry.shape });
    }
  }
  return where;
}
