// 3x3 convolutions of stride 1 by Winograd's F(2x2, 3x3): 16 products for four outputs instead of 36 (Lavin & Gray,
// 2016). Input tiles, weights and sums are transformed around 16 plain products. Works through bands of tile rows, so
// that the transformed planes stay small. float32, contiguous (n, c, h, w) output; the definition is conv2d.ts.

import type { Engine } from './engine.ts';
import { prepareMap } from './map.ts';
import type { MapOperand } from './map.ts';
import { packingCost } from './packing.ts';
import type { Packable } from './packing.ts';
import { prepareProduct } from './product.ts';
import type { ProductRun } from './product.ts';
import type { Tile } from './micro.ts';
import type { ConvRun, ConvSpec } from './conv2d.ts';
import { emitInput, emitOutput, emitWeights } from './winograd-code.ts';

/** Tiles a band: the planes of 16 transformed positions then take a few MiB. */
const bandTiles = 512;

/** True for a convolution that Winograd's method fits and speeds up: on small ones the transforms cost the gain. */
export function winogradFits(
  s: Pick<ConvSpec, 'x' | 'weight' | 'y' | 'stride' | 'dilation' | 'groups'>,
): boolean {
  const [o, c, kh, kw] = s.weight.shape;
  const [, , oh, ow] = s.y.shape;
  const contiguous = s.y.strides[3] === 1 && s.y.strides[2] === ow;
  const plain = kh === 3 && kw === 3 && s.groups === 1 && [...s.stride, ...s.dilation].every((v) => v === 1);
  return plain && contiguous && c >= 16 && o >= 16 && oh * ow >= 256;
}

// eslint-disable-next-line max-lines-per-function -- one kernel's preparation: what its runs share is made here once
export function prepareWinograd(engine: Engine, s: ConvSpec, tile: Tile): Packable<ConvRun> {
  const [n, c, h, w] = s.x.shape;
  const [o] = s.weight.shape;
  const [, , oh, ow] = s.y.shape;
  const [top, , left] = s.padding;
  const tileRows = Math.ceil(oh / 2);
  const tileColumns = Math.ceil(ow / 8) * 4; // rows of tiles are walked four at a time
  const [hp, wp] = [2 * tileRows + 2, 2 * tileColumns + 4];
  const bandRows = Math.max(1, Math.min(tileRows, Math.floor(bandTiles / tileColumns)));

  const weights = engine.code(
    'winograd weights',
    (module) => void module.add(['i32', 'i32', 'i32'], emitWeights, 'tile'),
  );
  const input = engine.code(
    'winograd input',
    (module) => void module.add(['i32', 'i32', 'i32'], emitInput, 'tile'),
  );
  const output = engine.code(
    'winograd output',
    (module) => void module.add(['i32', 'i32', 'i32'], emitOutput, 'tile'),
  );
  const dense = [9 * c, 9, 3, 1];
  const asIs = s.weight.dtype === 'float32' && dense.every((v, i) => s.weight.strides[i] === v);
  const bringWeight = asIs
    ? undefined
    : prepareMap(engine, {
        expr: ['in', 0],
        shape: s.weight.shape,
        inputs: [s.weight],
        output: { dtype: 'float32', strides: dense },
      })!;
  const inside: MapOperand = { dtype: 'float32', strides: [c * hp * wp, hp * wp, wp, 1] };
  const bring = prepareMap(engine, { expr: ['in', 0], shape: s.x.shape, inputs: [s.x], output: inside })!;
  const products = new Map<number, Packable<ProductRun>>();
  const productOf = (rows: number): Packable<ProductRun> => {
    const t = rows * tileColumns;
    const known = products.get(rows);
    if (known) return known;
    const product = prepareProduct(
      engine,
      {
        m: o,
        n: t,
        k: c,
        a: { dtype: 'float32', row: c, k: 1 },
        b: { dtype: 'float32', k: t, column: 1 },
        c: { row: t, column: 1 },
        batches: Array.from({ length: 16 }, (_, k) => [k * o * c, k * c * t, k * o * t] as const),
        weight: 'a',
      },
      tile,
    );
    products.set(rows, product);
    return product;
  };
  productOf(bandRows);
  const size = 4 * bandRows * tileColumns * 16;
  // h and w of x may reach beyond what the tiles read (never less than the padded image): copy only what fits.
  const planes = 4 * n * c * hp * wp + 64;
  const fits = h + top <= hp && w + left <= wp;
  if (!fits) throw new RangeError(`internal: winograd planes ${hp}x${wp} do not hold ${h}x${w}`);
  /** Gives `work` the transformed weight. */
  const onTransformed = (weight: number, work: (u: number) => void): void => {
    engine.lend(4 * 16 * o * c, (u) => {
      const transform = (plain: number): void => engine.run(weights, [plain, u, o, c], o, o * c * 100);
      if (!bringWeight) transform(weight);
      else {
        engine.lend(4 * 9 * o * c, (plain) => {
          bringWeight.run([weight, plain], []);
          transform(plain);
        });
      }
      work(u);
    });
  };
  /** `products` of as many tile rows as it is given, on `u`. */
  const convolve = (x: number, u: number, y: number, products: (rows: number) => ProductRun): void => {
    const padded = engine.alloc(planes);
    engine.bytes.fill(0, padded, padded + planes);
    bring.run([x, padded + 4 * (top * wp + left)], []);
    const v = engine.alloc(size * c);
    const m = engine.alloc(size * o);
    for (let image = 0; image < n; image++) {
      for (let row = 0; row < tileRows; row += bandRows) {
        const rows = Math.min(bandRows, tileRows - row);
        const t = rows * tileColumns;
        const from = padded + 4 * (image * c * hp * wp + 2 * row * wp);
        engine.run(
          input,
          [from, v, c, hp * wp * 4, wp * 4, rows, tileColumns, 4 * t, 4 * c * t],
          c,
          c * t * 64,
        );
        products(rows)(u, v, m);
        const to = y + 4 * (image * s.y.strides[0]! + 2 * row * ow);
        engine.run(
          output,
          [to, m, o, s.y.strides[1]! * 4, ow * 4, rows, tileColumns, 4 * t, 4 * o * t, oh - 2 * row, ow],
          o,
          o * t * 64,
        );
      }
    }
    for (const at of [m, v, padded]) engine.free(at);
  };
  return {
    run: (x, weight, y) => onTransformed(weight, (u) => convolve(x, u, y, (rows) => productOf(rows).run)),
    packed() {
      // Bands of any height read the same panels: those of o rows, c deep.
      const band = productOf(bandRows).packed?.();
      return (
        band && {
          bytes: band.bytes,
          // The transform of a weight costs about what packing its 16 values does.
          saves: n * Math.ceil(tileRows / bandRows) * band.saves + packingCost * 16 * o * c,
          pack: (from, to) => onTransformed(from, (u) => band.pack(u, to)),
          run: (x, u, y) => convolve(x, u, y, (rows) => productOf(rows).packed!()!.run),
        }
      );
    },
  };
}
