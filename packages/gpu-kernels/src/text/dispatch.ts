// Input and result of kernel texts: the traits of a device, the parts of a text, and a dispatch of it
// as data.

import type { DType } from '@darkroom/core';
import type { BufferText } from './access.ts';

/** Limits and features of a device that shaders depend on. */
export interface Traits {
  /** Narrow dtypes that are stored and loaded natively; the others share 32-bit words. */
  readonly natives: ReadonlySet<DType>;
  /** Bytes one storage binding may cover: multiple of 256. */
  readonly bindingBytes: number;
  /** Storage bindings of one shader. */
  readonly bindings: number;
  readonly workgroupBytes: number;
  readonly invocations: number;
  /** Write short loops out: GPUs then overlap their loads; software devices only compile longer. */
  readonly unroll: boolean;
  /**
   * Of software devices: what one result more an invocation costs to compile, in multiply-adds of a run; default:
   * lavapipe's.
   */
  readonly compilePrice?: number;
  /** The lanes of a warp of 32 exchange registers by CUDA C++'s __shfl_xor_sync. */
  readonly shuffles?: boolean;
}

/** The parts of a kernel's text, before a backend puts them into its language. */
export interface KernelText {
  readonly label: string;
  readonly params: readonly { readonly name: string; readonly type: 'u32' | 'i32' | 'f32' }[];
  readonly buffers: readonly BufferText[];
  readonly shared: readonly { readonly name: string; readonly type: string; readonly length: number }[];
  /** Bytes of workgroup memory sized at launch, seen as `char* pool`: only in CUDA C++. */
  readonly poolBytes: number;
  /** Functions in the order of their calls: callees first. They see params as P.name, and the buffers. */
  readonly functions: readonly string[];
  /** Invocations of a workgroup. */
  readonly threads: number;
  /** Products and sums are each rounded, never fused, where the language can say so: as PyTorch's separate ops are. */
  readonly unfused: boolean;
  /** Statements that see `group` and `tid`. Workgroups from P.groups on do nothing. */
  readonly body: string;
}

/** One storage binding: a piece of an argument. Arguments past the kernel's own are its scratch buffers. */
export interface Binding {
  readonly arg: number;
  readonly piece: number;
}

/** One dispatch, as data. Words of `params` named by `offsets` and `scalars` are filled in at each run. */
export interface Dispatch {
  readonly bindings: readonly Binding[];
  readonly params: Uint32Array<ArrayBuffer>;
  readonly offsets: readonly { readonly word: number; readonly arg: number; readonly unitBytes: number }[];
  readonly scalars: readonly {
    readonly word: number;
    readonly scalar: number;
    readonly bits: 'f32' | 'low' | 'high';
  }[];
  /** Workgroups in all; dispatched as rows of `foldWidth`. */
  readonly groups: number;
}

/** A dispatch and what it runs. */
export interface KernelDispatch extends Dispatch {
  readonly text: KernelText;
}

/** Workgroups in one row of a dispatch: below WebGPU's guaranteed 65535, and a shift in the shader. */
export const foldWidth = 32768;

/** The grid of `groups` workgroups: rows of `foldWidth`. */
export function gridOf(groups: number): { readonly x: number; readonly y: number } {
  const x = Math.min(groups, foldWidth);
  return { x, y: Math.ceil(groups / x) };
}

const floatBits = new Float32Array(1);
const wordBits = new Uint32Array(floatBits.buffer);

/** The bits of `value` as a float32. */
export function bitsOfFloat(value: number): number {
  floatBits[0] = value;
  return wordBits[0]!;
}

/** Bindings that an argument of `bytes` needs: its first byte may lie up to 255 bytes into the first. */
export function piecesOf(bytes: number, bindingBytes: number): number {
  return bytes <= bindingBytes - 256 ? 1 : Math.ceil((bytes + 256) / bindingBytes);
}

/** Writes the parameters of a run into words[at…]. `firstUnit`: where an argument starts, in units of its array. */
export function fillParams(
  dispatch: Dispatch,
  words: Uint32Array,
  at: number,
  firstUnit: (arg: number, unitBytes: number) => number,
  scalars: readonly number[],
): void {
  words.set(dispatch.params, at);
  for (const { word, arg, unitBytes } of dispatch.offsets) words[at + word] = firstUnit(arg, unitBytes);
  for (const { word, scalar, bits } of dispatch.scalars) {
    const value = scalars[scalar]!;
    if (bits === 'low') words[at + word] = value >>> 0;
    else if (bits === 'high') words[at + word] = Math.floor(value / 2 ** 32) >>> 0;
    else words[at + word] = bitsOfFloat(value);
  }
}
