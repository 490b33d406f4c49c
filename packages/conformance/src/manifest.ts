// The manifest of a folder of reference cases (made by diffusers), and reading their tensors.

import { FormatError, formatShape, openSafetensors, Tensor, tensor } from '@darkroom/core';
import { decode } from '@darkroom/core/backend';
import type { DataArray, Device, SafetensorsFile } from '@darkroom/core';
import type { ModelFiles } from '@darkroom/diffusers';
import { readJson } from '@darkroom/diffusers/testing';

export interface TensorEntry {
  readonly key: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly file?: string;
  /** Elements: the logical input is this strided view over the stored flat buffer. */
  readonly view?: {
    readonly shape: readonly number[];
    readonly strides: readonly number[];
    readonly offset: number;
  };
}

export interface CaseTolerance {
  readonly atol: number;
  readonly rtol: number;
  readonly rel_l2?: number;
}

export interface GoldenCase {
  readonly id: string;
  readonly kind: string;
  readonly file: string;
  readonly op?: string;
  readonly model?: string;
  readonly subfolder?: string;
  readonly weights?: string;
  readonly scheduler?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly inputs?: Readonly<Record<string, TensorEntry>>;
  readonly outputs?: Readonly<Record<string, TensorEntry>>;
  /** { f32 } for the case, or { output: { f32 } }. */
  readonly tolerance?: Readonly<Record<string, unknown>>;
}

export interface Goldens {
  readonly files: ModelFiles;
  readonly cases: readonly GoldenCase[];
}

export async function readGoldens(files: ModelFiles): Promise<Goldens> {
  const manifest = await readJson(files, 'manifest.json');
  const { cases } = manifest;
  if (!Array.isArray(cases)) throw new FormatError(`${files.describe()}/manifest.json: has no list of cases`);
  return { files, cases: finite(cases) as GoldenCase[] };
}

/** Parses the strings that stand for non-finite numbers in the manifest. */
function finite(value: unknown): unknown {
  if (value === 'Infinity' || value === '-Infinity' || value === 'NaN') return Number(value);
  if (Array.isArray(value)) return value.map(finite);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, finite(v)]));
}

/** Opens each tensor file once. */
export class TensorFiles {
  readonly #files: ModelFiles;
  readonly #open = new Map<string, Promise<SafetensorsFile>>();

  constructor(files: ModelFiles) {
    this.#files = files;
  }

  async #file(path: string): Promise<SafetensorsFile> {
    const known = this.#open.get(path);
    if (known) return known;
    const opened = this.#files.source(path).then((source) => openSafetensors(source));
    this.#open.set(path, opened);
    return opened;
  }

  /** Values of an entry in row-major order, on the host. */
  async values(test: GoldenCase, entry: TensorEntry): Promise<DataArray> {
    const file = await this.#file(entry.file ?? test.file);
    const bytes = new Uint8Array(await file.bytes(entry.key)).buffer;
    switch (entry.dtype) {
      case 'F32':
        return new Float32Array(bytes);
      case 'F16':
        return decode(new Uint8Array(bytes), 'float16');
      case 'BF16':
        return decode(new Uint8Array(bytes), 'bfloat16');
      case 'F64':
        return Float32Array.from(new Float64Array(bytes));
      case 'I32':
        return new Int32Array(bytes);
      case 'U8':
        return new Uint8Array(bytes);
      default:
        throw new FormatError(`${file.name}: '${entry.key}' has dtype ${entry.dtype}`);
    }
  }

  /** An entry on the device, with its strides where it is a view. */
  async tensor(test: GoldenCase, entry: TensorEntry, device: Device): Promise<Tensor> {
    const flat = tensor(await this.values(test, entry), { shape: entry.shape, device });
    if (!entry.view) return flat;
    if (flat.rank !== 1)
      throw new FormatError(`${test.id}: view over ${formatShape(flat.shape)}, not a flat buffer`);
    const viewed = new Tensor(flat.dtype, entry.view, flat.storage('view').retain());
    flat.dispose();
    return viewed;
  }
}
