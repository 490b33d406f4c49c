// 3x3 convolutions of stride 1 by Winograd's F(2x2, 3x3): 16 products for four outputs instead of 36 (Lavin & Gray,
// 2016). Input tiles, weights and sums are transformed around 16 plain products. Works through bands of tile rows, so
// that the transformed planes stay small. float32, contiguous (n, c, h, w) output; the definition is conv2d.ts.

import type { FunctionBuilder, Local } from './emitter.ts';
import type { Engine } from './engine.ts';
import { prepareMap } from './map.ts';
import type { MapOperand } from './map.ts';
import { packingCost } from './packing.ts';
import type { Packable } from './packing.ts';
import { prepareProduct } from './product.ts';
import type { ProductRun } from './product.ts';
import type { Tile } from './micro.ts';
import type { ConvRun, ConvSpec } from './conv2d.ts';

/** Tiles a band: the planes of 16 transformed positions then take a few MiB. */
const bandTiles = 512;

/** True where it applies and pays: below these sizes the transforms cost what the products save. */
export function winogradFits(
  s: Pick<ConvSpec, 'x' | 'weight' | 'y' | 'stride' | 'dilation' | 'groups'>,
): boolean {
  const [o, c, kh, kw] = s.weight.shape;
  const [, , oh, ow] = s.y.shape;
  const contiguous = s.y.strides[3] === 1 && s.y.strides[2] === ow;
  const plain = kh === 3 && kw === 3 && s.groups === 1 && [...s.stride, ...s.dilation].every((v) => v === 1);
  return plain && contiguous && c >= 16 && o >= 16 && oh * ow >= 256;
}

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

type F = FunctionBuilder;
const reader =
  (f: F) =>
  (w: number): void =>
    void f.get(f.params[0]!).mem('i32.load', 4 * w);

/** U = G g Gᵀ of output channel `tile`: args [g, u, o, c]. G = [1 0 0; ½ ½ ½; ½ -½ ½; 0 0 1]. */
function emitWeights(f: F): void {
  const tile = f.params[1]!;
  const arg = reader(f);
  const i32 = (): Local => f.local('i32');
  const [g, u, plane, count, i] = f.locals('i32', 5);
  arg(3);
  f.set(count);
  arg(0);
  f.get(tile).get(count).op('i32.mul').i32(36).op('i32.mul').op('i32.add').set(g);
  arg(1);
  f.get(tile).get(count).op('i32.mul').i32(4).op('i32.mul').op('i32.add').set(u);
  arg(2);
  f.get(count).op('i32.mul').i32(4).op('i32.mul').set(plane);
  const rows = Array.from({ length: 12 }, () => f.local('f32'));
  const [sum, at] = [f.local('f32'), i32()];
  /** Four values from three by G; `load` pushes value k, `store` takes the result for position k. */
  const byG = (load: (k: number) => void, store: (k: number, push: () => void) => void): void => {
    store(0, () => load(0));
    for (const sign of [1, -1]) {
      store(sign === 1 ? 1 : 2, () => {
        load(0);
        load(2);
        f.op('f32.add').set(sum).get(sum);
        load(1);
        f.op(sign === 1 ? 'f32.add' : 'f32.sub')
          .f32(0.5)
          .op('f32.mul');
      });
    }
    store(3, () => load(2));
  };
  f.i32(0).set(i);
  f.for(i, count, 1, () => {
    for (let column = 0; column < 3; column++) {
      byG(
        (k) => void f.get(g).mem('f32.load', 4 * (3 * k + column)),
        (k, push) => (push(), void f.set(rows[3 * k + column]!)),
      );
    }
    f.get(u).set(at);
    for (let row = 0; row < 4; row++) {
      byG(
        (k) => void f.get(rows[3 * row + k]!),
        (_, push) => {
          f.get(at);
          push();
          f.mem('f32.store').bump(at, plane);
        },
      );
    }
    f.bump(g, 36).bump(u, 4);
  });
}

/** V = Bᵀ d B of input channel `tile`: args [x, v, c, plane, row, tile rows, tile columns, channel bytes, position bytes]. */
function emitInput(f: F): void {
  const tile = f.params[1]!;
  const arg = reader(f);
  const [x, v, y, column, p, q, rowBytes, position] = f.locals('i32', 8);
  const [rows, columns] = f.locals('i32', 2);
  const d = Array.from({ length: 16 }, () => f.local('v128'));
  const [v0, v1, v2] = f.locals('v128', 3);
  arg(0);
  f.get(tile);
  arg(3);
  f.op('i32.mul').op('i32.add').set(x);
  arg(1);
  f.get(tile);
  arg(7);
  f.op('i32.mul').op('i32.add').set(v);
  arg(4);
  f.set(rowBytes);
  arg(8);
  f.set(position);
  arg(5);
  f.set(rows);
  arg(6);
  f.set(columns);
  f.i32(0).set(y);
  f.for(y, rows, 1, () => {
    f.i32(0).set(column);
    f.for(column, columns, 4, () => {
      f.get(x)
        .get(y)
        .i32(2)
        .op('i32.mul')
        .get(rowBytes)
        .op('i32.mul')
        .op('i32.add')
        .get(column)
        .i32(8)
        .op('i32.mul')
        .op('i32.add')
        .set(p);
      // Four tiles side by side: column j of each as one vector.
      for (let i = 0; i < 4; i++) {
        f.get(p)
          .mem('v128.load', 0)
          .set(v0)
          .get(p)
          .mem('v128.load', 16)
          .set(v1)
          .get(p)
          .mem('v128.load64_zero', 32)
          .set(v2);
        f.get(v0)
          .get(v1)
          .shuffle32(0, 2, 4, 6)
          .set(d[4 * i]!);
        f.get(v0)
          .get(v1)
          .shuffle32(1, 3, 5, 7)
          .set(d[4 * i + 1]!);
        f.get(d[4 * i]!)
          .get(v2)
          .shuffle32(1, 2, 3, 4)
          .set(d[4 * i + 2]!);
        f.get(d[4 * i + 1]!)
          .get(v2)
          .shuffle32(1, 2, 3, 5)
          .set(d[4 * i + 3]!);
        f.bump(p, rowBytes);
      }
      for (let j = 0; j < 4; j++)
        byB(
          f,
          [0, 1, 2, 3].map((i) => d[4 * i + j]!),
          v0,
          v1,
        );
      for (let i = 0; i < 4; i++)
        byB(
          f,
          [0, 1, 2, 3].map((j) => d[4 * i + j]!),
          v0,
          v1,
        );
      f.get(v).set(q);
      for (const value of d) f.get(q).get(value).mem('v128.store').bump(q, position);
      f.bump(v, 16);
    });
  });
}

/** (a, b, c, d) → (a - c, b + c, c - b, b - d), in place. */
function byB(f: F, [a, b, c, d]: readonly Local[], s: Local, t: Local): void {
  f.get(b!).get(c!).op('f32x4.add').set(s).get(c!).get(b!).op('f32x4.sub').set(t);
  f.get(a!).get(c!).op('f32x4.sub').set(a!).get(b!).get(d!).op('f32x4.sub').set(d!);
  f.get(s).set(b!).get(t).set(c!);
}

/** Y = Aᵀ m A of output channel `tile`: args [y, m, o, plane, row, tile rows, tile columns, channel bytes, position bytes, height, width]. */
function emitOutput(f: F): void {
  const tile = f.params[1]!;
  const arg = reader(f);
  const [y, m, row, column, q, to] = f.locals('i32', 6);
  const [rowBytes, position, rows, columns, width, left] = f.locals('i32', 6);
  const d = Array.from({ length: 16 }, () => f.local('v128'));
  const [lo, hi] = f.locals('v128', 2);
  arg(0);
  f.get(tile);
  arg(3);
  f.op('i32.mul').op('i32.add').set(y);
  arg(1);
  f.get(tile);
  arg(7);
  f.op('i32.mul').op('i32.add').set(m);
  arg(4);
  f.set(rowBytes);
  arg(8);
  f.set(position);
  arg(5);
  f.set(rows);
  arg(6);
  f.set(columns);
  arg(10);
  f.set(width);
  /** (a, b, c, d) → first (a + b + c) into a, second (b - c - d) into b. */
  const byA = ([a, b, c, e]: readonly Local[]): void => {
    f.get(b!).get(c!).op('f32x4.sub').get(e!).op('f32x4.sub').set(lo);
    f.get(a!).get(b!).op('f32x4.add').get(c!).op('f32x4.add').set(a!).get(lo).set(b!);
  };
  f.i32(0).set(row);
  f.for(row, rows, 1, () => {
    f.i32(0).set(column);
    f.for(column, columns, 4, () => {
      f.get(m).set(q);
      for (const value of d) f.get(q).mem('v128.load').set(value).bump(q, position);
      f.bump(m, 16);
      for (let j = 0; j < 4; j++) byA([0, 1, 2, 3].map((i) => d[4 * i + j]!));
      for (let i = 0; i < 2; i++) {
        byA([0, 1, 2, 3].map((j) => d[4 * i + j]!));
        // Row 2·row + i, if the image has it; columns 2·column … +7, as far as it reaches.
        f.get(row).i32(2).op('i32.mul').i32(i).op('i32.add');
        arg(9);
        f.op('i32.lt_s').if(() => {
          f.get(d[4 * i]!)
            .get(d[4 * i + 1]!)
            .shuffle32(0, 4, 1, 5)
            .set(lo)
            .get(d[4 * i]!)
            .get(d[4 * i + 1]!)
            .shuffle32(2, 6, 3, 7)
            .set(hi);
          f.get(y)
            .get(row)
            .i32(2)
            .op('i32.mul')
            .i32(i)
            .op('i32.add')
            .get(rowBytes)
            .op('i32.mul')
            .op('i32.add');
          f.get(column).i32(8).op('i32.mul').op('i32.add').set(to);
          f.get(width).get(column).i32(2).op('i32.mul').op('i32.sub').set(left);
          f.get(left)
            .i32(8)
            .op('i32.ge_s')
            .if(
              () => void f.get(to).get(lo).mem('v128.store').get(to).get(hi).mem('v128.store', 16),
              () => {
                for (let k = 0; k < 8; k++) {
                  f.get(left)
                    .i32(k)
                    .op('i32.gt_s')
                    .if(
                      () =>
                        void f
                          .get(to)
                          .get(k < 4 ? lo : hi)
                          .laneMem('v128.store32_lane', k % 4, 4 * k),
                    );
                }
              },
            );
        });
      }
    });
  });
}
