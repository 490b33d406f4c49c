// One operand of a product packed whole and once: for each block of depth all its panels (micro.ts), one after the
// other. The place of a panel follows from its depth and lane, so that any tile of the product finds its own. Packing
// at every call uses the same code, so results have the same bits.

import type { DType } from '@darkroom/core';
import { sizeOf } from './elements.ts';
import type { FunctionBuilder, Local, ModuleBuilder } from './emitter.ts';
import type { Engine } from './engine.ts';
import { addPack, clampAdd } from './micro.ts';

/** A kernel; and where it can, the same one on a weight that was packed before. */
export interface Packable<Run> {
  readonly run: Run;
  /** Prepares it once. Absent or undefined: there is nothing to pack. */
  packed?(): Packed<Run> | undefined;
}

export interface Packed<Run> {
  /** Bytes of the packed copy. */
  readonly bytes: number;
  /** The time that packing once saves at each call, in multiply-adds. */
  readonly saves: number;
  /** Packs the weight at `from` to `to`. */
  pack(from: number, to: number): void;
  /** The kernel; it takes the address of the packed copy in place of the weight's. */
  readonly run: Run;
}

/** `kernel` with both of its run functions wrapped by `as`. */
export function calledAs<R, S>(kernel: Packable<R>, as: (run: R) => S): Packable<S> {
  return {
    run: as(kernel.run),
    packed() {
      const packed = kernel.packed?.();
      return packed && { ...packed, run: as(packed.run) };
    },
  };
}

/** The cost of packing an element, in multiply-adds of a product (measured: 0.5 to 1 ns to 0.04 ns). */
export const packingCost = 16;

/** Rows of A or columns of B, of a matrix of its own for each batch; strides and offsets in elements. */
export interface Operand {
  readonly dtype: DType;
  readonly lanes: number;
  readonly k: number;
  readonly laneStride: number;
  readonly kStride: number;
  readonly offsets: readonly number[];
}

export interface Packing {
  readonly bytes: number;
  /** `lanes` filled up to whole panels. */
  readonly paddedLanes: number;
  /** Byte offset of each batch's panels; batches of the same matrix share them. */
  readonly offsets: readonly number[];
  pack(from: number, to: number): void;
}

/** Into panels of `width` lanes, in blocks of `kc`. */
export function preparePacking(engine: Engine, operand: Operand, width: number, kc: number): Packing {
  const { dtype, lanes, k, laneStride, kStride } = operand;
  const code = engine.code(`pack ${dtype} ${width} kc${kc}`, (module) =>
    emitPacking(module, dtype, width, kc),
  );
  const [panels, blocks] = [Math.ceil(lanes / width), Math.ceil(k / kc)];
  const matrix = 4 * panels * width * k;
  const size = sizeOf[dtype];
  const places = new Map([...new Set(operand.offsets)].map((offset, i) => [offset, i * matrix]));
  const sources = engine.table([...places.keys()].map((offset) => offset * size));
  const args = [0, 0, sources, lanes, k, laneStride * size, kStride * size, panels, blocks, matrix];
  const bytes = places.size * matrix;
  return {
    bytes,
    paddedLanes: panels * width,
    offsets: operand.offsets.map((offset) => places.get(offset)!),
    pack: (from, to) =>
      engine.run(code, args.with(0, from).with(1, to), places.size * blocks * panels, bytes),
  };
}

const word = {
  from: 0, to: 1, sources: 2, lanes: 3, k: 4, laneStride: 5, kStride: 6, panels: 7, blocks: 8, matrix: 9,
} as const; // prettier-ignore

/** A tile is one panel: index = (matrix · blocks + block) · panels + panel. */
function emitPacking(module: ModuleBuilder, dtype: DType, width: number, kc: number): void {
  const pack = addPack(module, dtype, width);
  module.add(
    ['i32', 'i32', 'i32'],
    (f) => {
      const [args, index] = f.params as [Local, Local, Local];
      const arg = (w: keyof typeof word): void => void f.get(args).mem('i32.load', word[w] * 4);
      const [matrix, lane, pc, lanes, depth, rest, src, dst] = f.locals('i32', 8);
      f.get(index);
      arg('panels');
      f.op('i32.rem_u').i32(width).op('i32.mul').set(lane);
      f.get(index);
      arg('panels');
      f.op('i32.div_u').set(rest);
      f.get(rest);
      arg('blocks');
      f.op('i32.rem_u').i32(kc).op('i32.mul').set(pc);
      f.get(rest);
      arg('blocks');
      f.op('i32.div_u').set(matrix);
      clampAdd(f, lane, width, lanes, () => arg('lanes'));
      clampAdd(f, pc, kc, depth, () => arg('k'));
      // from + sources[matrix] + lane · laneStride + pc · kStride
      arg('from');
      arg('sources');
      f.get(matrix).i32(2).op('i32.shl').op('i32.add').mem('i32.load').op('i32.add').get(lane);
      arg('laneStride');
      f.op('i32.mul').op('i32.add').get(pc);
      arg('kStride');
      f.op('i32.mul').op('i32.add').set(src);
      arg('to');
      f.get(matrix);
      arg('matrix');
      f.op('i32.mul').op('i32.add').set(dst);
      addPanel(f, dst, pc, depth, lane, () => (arg('panels'), void f.i32(width).op('i32.mul')));
      f.set(dst).get(src);
      arg('laneStride');
      arg('kStride');
      f.get(lanes).get(depth).get(dst).call(pack);
    },
    'tile',
  );
}

/**
 * Pushes start + 4 · (pc · padded lanes + lane · depth): where the panel from `lane` on lies, of a block at depth `pc`.
 */
export function addPanel(
  f: FunctionBuilder,
  start: Local,
  pc: Local,
  depth: Local,
  lane: Local,
  paddedLanes: () => void,
): void {
  f.get(start).get(pc);
  paddedLanes();
  f.op('i32.mul').get(lane).get(depth).op('i32.mul').op('i32.add').i32(2).op('i32.shl').op('i32.add');
}
