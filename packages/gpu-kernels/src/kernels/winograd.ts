// winograd: input tiles are transformed into scratch memory, 16 products take them to sums, and those are transformed
// into the output, where the epilogue runs. Scratch holds a plane of [tiles, channels] for each of the 16 positions of
// a tile, channels in quads, so that the products read and write quads whatever the input's layout is.

import { elementCount, winogradInput, winogradOutput, winogradTiles } from '@darkroom/core/backend';
import type { ArgSpec, WinogradOp } from '@darkroom/core/backend';
import { Shader } from '../text/shader.ts';
import type { KernelDispatch, Traits } from '../text/dispatch.ts';
import { broadcastStrides } from './shared/dimensions.ts';
import { resultStore } from './shared/epilogue.ts';
import { usesIndex } from './shared/expressions.ts';
import { flatThreads, groupsFor } from './kernel.ts';
import type { KernelFactory, KernelSpec } from './kernel.ts';
import { productBody } from './shared/product.ts';
import { productChoices, tileOf } from './shared/tiles.ts';
import type { ProductSize, Tile } from './shared/tiles.ts';

interface Geometry {
  readonly channels: number;
  readonly outputs: number;
  readonly rows: number;
  readonly columns: number;
  readonly tiles: number;
  /** Channels and outputs in quads. */
  readonly cq: number;
  readonly oq: number;
}

function geometryOf(args: readonly ArgSpec[]): Geometry {
  const [, channels, outputs] = args[1]!.layout.shape as [number, number, number];
  const [n, rows, columns] = winogradTiles(args.at(-1)!.layout.shape);
  const [cq, oq] = [Math.ceil(channels / 4), Math.ceil(outputs / 4)];
  return { channels, outputs, rows, columns, tiles: n * rows * columns, cq, oq };
}

const lanes = [0, 1, 2, 3];

/** ± the names, as a sum. */
const signed = (signs: readonly number[], name: (i: number) => string): string =>
  signs.flatMap((sign, i) => (sign === 0 ? [] : [`${sign < 0 ? '-' : '+'} ${name(i)}`])).join(' ').replace(/^\+ /, ''); // prettier-ignore

/**
 * Statements that apply `matrix` to both sides of the 4x4 quads of the array `from`; texts of the results, row by row.
 */
function bothSides(
  matrix: readonly (readonly number[])[],
  from: string,
): { readonly code: string; readonly results: readonly string[] } {
  const half = matrix.flatMap((signs, i) =>
    lanes.map((j) => `let half${i}${j} = ${signed(signs, (r) => `${from}[${4 * r + j}]`)};`),
  );
  const results = matrix.flatMap((_, i) => matrix.map((signs) => signed(signs, (s) => `half${i}${s}`)));
  return { code: half.join('\n  '), results };
}

/**
 * Statements for each position p of a tile: written out, so that arrays stay in registers, or as a loop, which software
 * devices compile several times faster.
 */
function eachPosition(s: Shader, statements: (p: string) => string): string {
  if (!s.traits.unroll) return `for (var p = 0u; p < ${s.u32('positions', 16)}; p++) { ${statements('p')} }`;
  return Array.from({ length: 16 }, (_, p) => `{ ${statements(`${p}u`)} }`).join('\n  ');
}

/**
 * An invocation's `tile`, at `tx`, `ty` of image `item`, and which of `quads` quads of channels is its; no more than
 * there are.
 */
const head = (s: Shader, g: Geometry, quads: string): string =>
  `let id = group * ${flatThreads}u + tid;
  if (id >= ${s.u32('tiles', g.tiles)} * ${quads}) { return; }
  let block = id % ${quads};
  let tile = id / ${quads};
  let tx = tile % ${s.u32('columns', g.columns)};
  let ty = tile / ${s.u32('columns', g.columns)} % ${s.u32('rows', g.rows)};
  let item = tile / ${s.u32('columns', g.columns)} / ${s.u32('rows', g.rows)};`;

function inputs(op: WinogradOp, args: readonly ArgSpec[], traits: Traits, wide: boolean): KernelDispatch {
  const g = geometryOf(args);
  const { shape, strides } = args[0]!.layout;
  const [sn, sc, sh, sw] = strides as [number, number, number, number];
  const quads = wide && sc === 1 && g.channels % 4 === 0 && [sn, sh, sw].every((v) => v % 4 === 0);
  const s = new Shader(traits, 'winograd/input', args);
  const x = s.read(0, quads ? 4 : 1);
  const planes = s.scratch(0, 64 * g.tiles * g.cq, 'write', 4);
  const unit = quads ? 4 : 1;
  const [SN, SH, SW] = [s.u32('sn', sn / unit), s.u32('sh', sh / unit), s.u32('sw', sw / unit)];
  const [CQ, TILES] = [s.u32('cq', g.cq), s.u32('tiles', g.tiles)];
  const load = (): string => {
    if (quads) return x.getIf('at + block', 'inside');
    const lane = (e: number): string => {
      const c = `(block * 4u + ${e}u)`;
      return x.getIf(`at + ${c} * ${s.u32('sc', sc)}`, `inside && ${c} < ${s.u32('c', g.channels)}`);
    };
    return `vec4<f32>(${lanes.map(lane).join(', ')})`;
  };
  const { code, results } = bothSides(winogradInput, 'd');
  const body = `${head(s, g, CQ)}
  let top = i32(ty * 2u) - ${s.i32('top', op.padding[0])};
  let left = i32(tx * 2u) - ${s.i32('left', op.padding[2])};
  var d = array<vec4<f32>, 16>();
  ${eachPosition(
    s,
    (p) => `let y = top + i32(${p} / 4u); let x = left + i32(${p} % 4u);
    let inside = y >= 0 && y < ${s.i32('h', shape[2]!)} && x >= 0 && x < ${s.i32('w', shape[3]!)};
    let at = item * ${SN} + u32(max(y, 0)) * ${SH} + u32(max(x, 0)) * ${SW};
    d[${p}] = ${load()};`,
  )}
  ${code}
  var v = array<vec4<f32>, 16>(${results.join(', ')});
  ${eachPosition(s, (p) => planes.set(`(${p} * ${TILES} + tile) * ${CQ} + block`, `v[${p}]`))}`;
  return s.dispatch(flatThreads, groupsFor(g.tiles * g.cq), body);
}

function products(args: readonly ArgSpec[], tile: Tile, traits: Traits, wide: boolean): KernelDispatch {
  const g = geometryOf(args);
  const [ws, wc, wo] = args[1]!.layout.strides as [number, number, number];
  const quads = wide && wo === 1 && g.outputs % 4 === 0 && ws % 4 === 0 && wc % 4 === 0;
  const unit = quads ? 4 : 1;
  const s = new Shader(traits, `winograd/${tile.id}`, args);
  const weights = s.read(1, quads ? 4 : 1);
  const from = s.scratch(0, 64 * g.tiles * g.cq, 'read', 4);
  const to = s.scratch(1, 64 * g.tiles * g.oq, 'write', 4);
  const [M, N, C] = [s.u32('tiles', g.tiles), s.u32('o', g.outputs), s.u32('c', g.channels)];
  const [CQ, OQ] = [s.u32('cq', g.cq), s.u32('oq', g.oq)];
  const [WS, WC] = [s.u32('ws', ws / unit), s.u32('wc', wc / unit)];
  const exact = g.channels % tile.k === 0;
  const [tilesM, tilesN] = [Math.ceil(g.tiles / tile.m), Math.ceil(g.outputs / tile.n)];
  const body = `let tile_row = group % ${s.u32('tiles_m', tilesM)};
  let tile_col = group / ${s.u32('tiles_m', tilesM)} % ${s.u32('tiles_n', tilesN)};
  let plane = group / ${s.u32('tiles_mn', tilesM * tilesN)};
  ${productBody(s, {
    tile,
    m: M,
    n: N,
    k: C,
    a: {
      along: 'k',
      cheap: true,
      setup: (slot, row) => `let ${slot} = (plane * ${M} + min(${row}, ${M} - 1u)) * ${CQ};`,
      load: (slot, at) => from.getIf(`${slot} + ${at} / 4u`, exact ? 'true' : `${at} < ${C}`),
    },
    b: {
      along: wo <= wc ? 'other' : 'k',
      cheap: true,
      setup: (slot, col) =>
        quads
          ? `let ${slot} = plane * ${WS} + min(${col}, ${N} - 1u) / 4u;`
          : `let ${slot} = vec4<u32>(plane * ${WS}) + min(vec4<u32>(${col}) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(${N} - 1u)) * ${s.u32('wo', wo)};`,
      load: (slot, at) => {
        const inside = exact ? 'true' : `${at} < ${C}`;
        if (quads) return weights.getIf(`${slot} + ${at} * ${WC}`, inside);
        return `vec4<f32>(${lanes.map((i) => weights.getIf(`${slot}[${i}] + ${at} * ${WC}`, inside)).join(', ')})`;
      },
    },
    store: (row, col, v) => to.set(`(plane * ${M} + ${row}) * ${OQ} + ${col} / 4u`, v),
  })}`;
  return s.dispatch(tile.rows * tile.columns, tilesM * tilesN * 16, body);
}

function outputs(op: WinogradOp, args: readonly ArgSpec[], traits: Traits, wide: boolean): KernelDispatch {
  const g = geometryOf(args);
  const { shape, strides } = args.at(-1)!.layout;
  const s = new Shader(traits, 'winograd/output', args);
  const planes = s.scratch(1, 64 * g.tiles * g.oq, 'read', 4);
  const [OQ, TILES] = [s.u32('oq', g.oq), s.u32('tiles', g.tiles)];
  const store = resultStore(s, args, {
    expr: op.epilogue,
    wide,
    axis: 1,
    run: g.outputs,
    strides: [...args.slice(2, -1).map((extra) => broadcastStrides(extra.layout, shape)), strides],
    coordinate: (col) => col,
    rest: (col) => `${s.u32('o', g.outputs)} - ${col}`,
    others: () => `let o0 = item; let o2 = oy; let o3 = ox;`,
  });
  const { code, results } = bothSides(winogradOutput, 'm');
  const body = `${head(s, g, OQ)}
  var m = array<vec4<f32>, 16>();
  ${eachPosition(s, (p) => `m[${p}] = ${planes.get(`(${p} * ${TILES} + tile) * ${OQ} + block`)};`)}
  ${code}
  var results = array<vec4<f32>, 4>(${results.join(', ')});
  for (var p = 0u; p < ${s.u32('results', 4)}; p++) {
    let oy = ty * 2u + p / 2u;
    let ox = tx * 2u + p % 2u;
    if (oy < ${s.u32('oh', shape[2]!)} && ox < ${s.u32('ow', shape[3]!)}) { ${store('tile', '(block * 4u)', 'results[p]')} }
  }`;
  return s.dispatch(flatThreads, groupsFor(g.tiles * g.oq), body);
}

function prepare(
  op: WinogradOp,
  args: readonly ArgSpec[],
  choice: string,
  traits: Traits,
  wide: boolean,
): KernelSpec {
  if (elementCount(args.at(-1)!.layout.shape) === 0) return { dispatches: [] };
  const g = geometryOf(args);
  return {
    dispatches: [
      inputs(op, args, traits, wide),
      products(args, tileOf(choice), traits, wide),
      outputs(op, args, traits, wide),
    ],
    scratch: [256 * g.tiles * g.cq, 256 * g.tiles * g.oq],
  };
}

export const winograd: KernelFactory<WinogradOp> = {
  choices(op, args, traits) {
    if (args.length > traits.bindings || (op.epilogue && usesIndex(op.epilogue))) return [];
    const { tiles, outputs: n, channels: k } = geometryOf(args);
    const size: ProductSize = { m: tiles, n, k, stacks: 16 };
    return productChoices(size, traits);
  },
  prepare,
};
