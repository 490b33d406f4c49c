// The WebAssembly codecs of jSquash (mozjpeg, libwebp), each loaded when its format is first asked for. Node, Bun and
// Deno read the WebAssembly from disk; in a page the codec fetches it from beside itself, where bundlers put it.

import { FormatError } from '@darkroom/core';

/** An emscripten module; its heap grows with the largest picture. */
interface Instance {
  readonly HEAPU8?: Uint8Array;
}
type Factory<T extends Instance> = (overrides: object) => Promise<T>;

/** RGBA as the codecs take and give it. */
export interface RgbaPixels {
  readonly data: Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}

export interface Encoder extends Instance {
  encode(data: Uint8ClampedArray, width: number, height: number, options: object): Uint8Array | null;
}

export interface Decoder extends Instance {
  decode(data: Uint8Array, preserveOrientation?: boolean): RgbaPixels | null;
}

/** Bytes of a heap that is kept for the next picture; a larger one is given back. */
const keptHeap = 64 * 2 ** 20;

/** A codec that is loaded on demand, and made anew after a failure: a failed one may be in any state. */
export class Codec<T extends Instance> {
  readonly #wasm: string;
  readonly #load: () => Promise<{ readonly default: unknown }>;
  #module: Promise<WebAssembly.Module | undefined> | undefined;
  #instance: T | undefined;

  /** `wasm`: path of the WebAssembly, from the package's name on; `load` imports the code beside it. */
  constructor(wasm: string, load: () => Promise<{ readonly default: unknown }>) {
    this.#wasm = wasm;
    this.#load = load;
  }

  /** Runs `body` with the codec. @throws FormatError where the codec cannot be loaded, and what `body` throws */
  async use<R>(body: (codec: T) => R): Promise<R> {
    const codec = this.#instance ?? (await this.#open());
    this.#instance = undefined;
    const result = body(codec);
    if ((codec.HEAPU8?.byteLength ?? 0) <= keptHeap) this.#instance = codec;
    return result;
  }

  async #open(): Promise<T> {
    const name = this.#wasm.split('/').at(-1)!;
    try {
      const factory = (await this.#load()).default as Factory<T>;
      const module = await (this.#module ??= onDisk(this.#wasm));
      return await factory({
        noInitialRun: true,
        print: nothing,
        printErr: nothing,
        ...(module && { instantiateWasm: instantiator(module) }),
      });
    } catch (error) {
      this.#module = undefined;
      if (error instanceof FormatError) throw error;
      throw new FormatError(
        `image: the codec ${name} cannot be loaded (${describe(error)}); a page needs that file of ` +
          `${this.#wasm.split('/').slice(0, 2).join('/')} beside the bundle`,
      );
    }
  }
}

const nothing = (): void => {};
const describe = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).slice(0, 200);

/** The compiled WebAssembly; undefined in a page, where the codec's own code fetches it. */
async function onDisk(path: string): Promise<WebAssembly.Module | undefined> {
  if (typeof process === 'undefined' || !process.versions?.node) return undefined;
  const { codecModule } = await import('../node/codec-file.ts');
  return codecModule(path);
}

type Ready = (instance: WebAssembly.Instance) => void;
const instantiator =
  (module: WebAssembly.Module) =>
  (imports: WebAssembly.Imports, ready: Ready): WebAssembly.Exports => {
    const instance = new WebAssembly.Instance(module, imports);
    ready(instance);
    return instance.exports;
  };

/** RGBA of an image's data; alpha is 255 where it has none. */
export function toRgba(data: Uint8ClampedArray, channels: 3 | 4): Uint8ClampedArray {
  if (channels === 4) return data;
  const out = new Uint8ClampedArray((data.length / 3) * 4).fill(255);
  for (let i = 0, o = 0; i < data.length; i += 3, o += 4) {
    out[o] = data[i]!;
    out[o + 1] = data[i + 1]!;
    out[o + 2] = data[i + 2]!;
  }
  return out;
}

/** RGB of RGBA: alpha is dropped. */
export function withoutAlpha(rgba: Uint8ClampedArray): Uint8ClampedArray {
  const out = new Uint8ClampedArray((rgba.length / 4) * 3);
  for (let i = 0, o = 0; i < rgba.length; i += 4, o += 3) {
    out[o] = rgba[i]!;
    out[o + 1] = rgba[i + 1]!;
    out[o + 2] = rgba[i + 2]!;
  }
  return out;
}
