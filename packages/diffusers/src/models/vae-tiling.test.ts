// Slicing is bit-equal; tiling blends as diffusers does, against its algorithm written as plain loops; both bound
// memory: slicing by one picture of the batch, tiling by one tile of the picture.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { add, copy, keep, randomNormal, resize, scope, tensor, toFormat } from '@darkroom/core';
import type { Device, Tensor } from '@darkroom/core';
import { firstMismatch, pointwiseTolerance, relativeL2, tiledPictureTolerance } from '@darkroom/core/testing';
import { localFiles } from '../loading/node/local-files.ts';
import { emoji } from '../node/testing.ts';
import { loadModel } from '../components/load.ts';
import type { AutoencoderKL } from './autoencoder-kl.ts';
import { sliced, tiled, tilesOf } from './vae-tiling.ts';

let device: Device;
let vae: AutoencoderKL;
beforeAll(async () => {
  device = await cpu({ threads: 2 });
  vae = (await loadModel(localFiles(emoji), 'vae', 'AutoencoderKL', { device })) as AutoencoderKL;
});
afterAll(() => {
  vae.dispose();
  expect(device.memory().live).toBe(0);
  device[Symbol.dispose]();
});

/** Values of what `body` gives; everything it made is freed. */
async function valuesOf(body: () => Tensor): Promise<ArrayLike<number>> {
  const result = keep(scope(body));
  const values = await result.data();
  result.dispose();
  return values;
}

type Plane = number[][];

/** diffusers' tiled_decode of one plane, with its in-place blending; f works on a plane. */
function reference(
  x: Plane,
  size: number,
  stride: number,
  ratio: number,
  f: (tile: Plane, k: number) => Plane,
): Plane {
  const extent = (size - stride) * ratio;
  const limit = stride * ratio;
  const rows: Plane[][] = [];
  let k = 0;
  for (let i = 0; i < x.length; i += stride) {
    const row: Plane[] = [];
    for (let j = 0; j < x[0]!.length; j += stride)
      row.push(
        f(
          x.slice(i, i + size).map((line) => line.slice(j, j + size)),
          k++,
        ),
      );
    rows.push(row);
  }
  const out: Plane = [];
  for (const [i, row] of rows.entries()) {
    const lines: Plane = [];
    for (const [j, b] of row.entries()) {
      if (i > 0) {
        const a = rows[i - 1]![j]!;
        const e = Math.min(a.length, b.length, extent);
        for (let y = 0; y < e; y++)
          b[y] = b[y]!.map((v, c) => a[a.length - e + y]![c]! * (1 - y / e) + v * (y / e));
      }
      if (j > 0) {
        const a = row[j - 1]!;
        const e = Math.min(a[0]!.length, b[0]!.length, extent);
        for (const [y, line] of b.entries())
          for (let c = 0; c < e; c++)
            line[c] = a[y]![a[y]!.length - e + c]! * (1 - c / e) + line[c]! * (c / e);
      }
      for (const [y, line] of b.slice(0, limit).entries()) (lines[y] ??= []).push(...line.slice(0, limit));
    }
    out.push(...lines);
  }
  return out;
}

const enlarged = (x: Plane, ratio: number): Plane =>
  Array.from({ length: x.length * ratio }, (_, y) =>
    Array.from(
      { length: x[0]!.length * ratio },
      (_v, c) => x[Math.floor(y / ratio)]![Math.floor(c / ratio)]!,
    ),
  );

describe('tiles', () => {
  const sizes = fc.record({
    h: fc.integer({ min: 1, max: 20 }),
    w: fc.integer({ min: 1, max: 20 }),
    size: fc.integer({ min: 1, max: 9 }),
    overlap: fc.double({ min: 0, max: 0.9, noNaN: true }),
    ratio: fc.constantFrom(1, 2, 4),
    channelsLast: fc.boolean(),
  });
  const close = pointwiseTolerance('float32');

  test('whatever a tile gives is blended as by diffusers’ loops', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, async ({ h, w, size, overlap, ratio, channelsLast }) => {
        const tiles = tilesOf({ tileSize: size * ratio, overlap }, 0, ratio);
        const x = keep(randomNormal([1, 1, h, w], { device, seed: 1 }));
        const flat = [...(await x.data())];
        const plane = Array.from({ length: h }, (_, y) => flat.slice(y * w, (y + 1) * w));
        let k = 0;
        const got = await valuesOf(() => {
          const input = channelsLast ? toFormat(x, 'channelsLast') : x;
          // Each tile is shifted by its own number, so that every seam shows.
          return tiled(input, tiles, 1, ratio, (tile) =>
            add(resize(tile, [tile.shape[2]! * ratio, tile.shape[3]! * ratio]), k++),
          );
        });
        const want = reference(plane, tiles.size, tiles.stride, ratio, (tile, i) =>
          enlarged(tile, ratio).map((line) => line.map((v) => v + i)),
        ).flat();
        x.dispose();
        expect(firstMismatch(got, want, close)).toBe(-1);
      }),
      { numRuns: 60 },
    );
  });

  test('tiles that agree where they overlap leave no seam', async () => {
    const x = keep(randomNormal([2, 3, 17, 23], { device, seed: 2 }));
    const twice = (t: Tensor): Tensor => resize(t, [t.shape[2]! * 2, t.shape[3]! * 2]);
    const tiles = tilesOf({ tileSize: 16, overlap: 0.25 }, 0, 2);
    const got = await valuesOf(() => tiled(x, tiles, 1, 2, twice));
    expect(firstMismatch(got, await valuesOf(() => twice(x)), close)).toBe(-1);
    const half = (t: Tensor): Tensor => resize(t, [t.shape[2]! / 2, t.shape[3]! / 2]);
    const even = keep(scope(() => twice(x)));
    const down = await valuesOf(() => tiled(even, tiles, 2, 1, half));
    expect(firstMismatch(down, await x.data(), close)).toBe(-1);
    x.dispose();
    even.dispose();
  });

  test('sizes and options that cannot be tiled are refused', () => {
    expect(tilesOf({}, 512, 8)).toEqual({ size: 64, stride: 48 });
    expect(tilesOf({}, 516, 8)).toEqual({ size: 64, stride: 48 });
    expect(() => vae.enableTiling({ tileSize: 30 })).toThrow(
      "enableTiling: tileSize must be a multiple of 4 (the VAE's scale) of at least 4, got 30",
    );
    expect(() => vae.enableTiling({ tileSize: 0 })).toThrow('got 0');
    expect(() => vae.enableTiling({ overlap: 1 })).toThrow(
      'enableTiling: overlap must be from 0 to below 1, got 1',
    );
    expect(() => vae.enableTiling({ overlap: NaN })).toThrow('got NaN');
    expect(vae.tiles).toBeUndefined();
    const odd = tensor(new Float32Array(9), { shape: [1, 1, 3, 3], device });
    expect(() => tiled(odd, { size: 1, stride: 1 }, 2, 1, (t) => t)).toThrow(
      'tiling: height and width must be multiples of 2',
    );
    odd.dispose();
  });
});

describe('AutoencoderKL', () => {
  test('slicing gives the bits of the whole batch, both ways, in both formats', async () => {
    for (const format of ['contiguous', 'channelsLast'] as const) {
      const z = keep(scope(() => toFormat(randomNormal([3, 4, 8, 12], { device, seed: 3 }), format)));
      const image = keep(scope(() => toFormat(randomNormal([3, 3, 32, 24], { device, seed: 4 }), format)));
      const both = async (): Promise<ArrayLike<number>[]> => [
        await valuesOf(() => vae.decode(z)),
        await valuesOf(() => vae.encode(image).mean),
        await valuesOf(() => vae.encode(image).std),
      ];
      const whole = await both();
      vae.enableSlicing();
      const slices = await both();
      vae.disableSlicing();
      expect(slices).toEqual(whole);
      z.dispose();
      image.dispose();
    }
  });

  test('a picture of at most one tile is not tiled: the same bits', async () => {
    const z = keep(randomNormal([1, 4, 16, 16], { device, seed: 5 }));
    const whole = await valuesOf(() => vae.decode(z));
    vae.enableTiling();
    expect(await valuesOf(() => vae.decode(z))).toEqual(whole);
    vae.disableTiling();
    z.dispose();
  });

  test('a tiled decode is its tiles decoded alone and blended by diffusers’ loops', async () => {
    const [h, w] = [22, 30];
    const z = keep(randomNormal([1, 4, h, w], { device, seed: 9 }));
    vae.enableTiling({ tileSize: 48, overlap: 0.25 });
    const tiles = vae.tiles!;
    expect(tiles).toEqual({ size: 12, stride: 9 });
    const got = await valuesOf(() => vae.decode(z));
    vae.disableTiling();
    for (let channel = 0; channel < 3; channel++) {
      // Latents of a tile are named by their place, which is all that the loops need to know of them.
      const places = Array.from({ length: h }, (_, y) => Array.from({ length: w }, (_v, x) => y * w + x));
      const want = reference(places, tiles.size, tiles.stride, 4, (tile) => {
        const [top, left] = [Math.floor(tile[0]![0]! / w), tile[0]![0]! % w];
        const decoded = keep(
          scope(() => {
            const rows = z.slice(2, top, top + tile.length);
            return vae.decode(copy(rows.slice(3, left, left + tile[0]!.length)));
          }),
        );
        const values = decoded.dataSync();
        const [, , height, width] = decoded.shape as [number, number, number, number];
        decoded.dispose();
        const at = (y: number): number => (channel * height + y) * width;
        return Array.from({ length: height }, (_, y) => [...values.slice(at(y), at(y) + width)]);
      }).flat();
      const plane = Array.prototype.slice.call(got, channel * want.length, (channel + 1) * want.length);
      expect(firstMismatch(plane as number[], want, pointwiseTolerance('float32'))).toBe(-1);
    }
    z.dispose();
  });

  test('a tiled picture is near the whole one, there and back; slicing and tiling go together', async () => {
    // A smooth picture, as pictures are: what norms see differs little between tiles.
    const values = Float32Array.from({ length: 2 * 3 * 128 * 160 }, (_, i) => {
      const [x, y, c] = [i % 160, Math.floor(i / 160) % 128, Math.floor(i / 160 / 128)];
      return 0.7 * Math.sin((x + 20 * c) / 15) * Math.cos(y / 12);
    });
    const image = tensor(values, { shape: [2, 3, 128, 160], device });
    const z = keep(scope(() => vae.encode(image).mode().alias()));
    const whole = [await z.data(), await valuesOf(() => vae.decode(z))] as const;
    vae.enableTiling();
    const tiles = [
      await valuesOf(() => vae.encode(image).mean),
      await valuesOf(() => vae.decode(z)),
    ] as const;
    vae.enableSlicing();
    expect(await valuesOf(() => vae.decode(z))).toEqual(tiles[1]);
    vae.disableSlicing();
    vae.disableTiling();
    for (const [got, want, what] of [
      [tiles[0], whole[0], 'latents'],
      [tiles[1], whole[1], 'picture'],
    ] as const) {
      const distance = relativeL2(got, want);
      expect(distance, what).toBeGreaterThan(0); // it was tiled
      expect(distance, what).toBeLessThanOrEqual(tiledPictureTolerance[what]);
    }
    image.dispose();
    z.dispose();
  });
});

describe('memory', () => {
  /** Bytes that a decode holds at its highest beyond latents and result. */
  const beyond = (batch: number, edge: number): number => {
    const z = keep(randomNormal([batch, 4, edge, edge], { device, seed: 6 }));
    const before = device.memory().live;
    device.resetPeakMemory();
    const image = keep(vae.decode(z));
    const held = device.memory().peak - before - image.bytes;
    image.dispose();
    z.dispose();
    return held;
  };

  test('a sliced decode holds the same for 1 picture and for 8, a whole one 8 times as much', () => {
    const [one, eight] = [beyond(1, 16), beyond(8, 16)];
    expect(eight).toBeGreaterThan(6 * one);
    vae.enableSlicing();
    // The first result is held until it is copied into the batch.
    const picture = 3 * 64 * 64 * 4;
    const [slicedOne, slicedEight] = [beyond(1, 16), beyond(8, 16)];
    vae.disableSlicing();
    expect(slicedOne).toBe(one);
    expect(slicedEight).toBeLessThanOrEqual(one + picture);
  });

  test('a tiled decode holds nearly the same for 64 and for 256 pixels, a whole one 16 times as much', () => {
    const [small, large] = [beyond(1, 16), beyond(1, 64)];
    expect(large).toBeGreaterThan(12 * small);
    vae.enableTiling();
    const tiledLarge = beyond(1, 64);
    vae.disableTiling();
    // Beside a tile: the strips blended with the next row, a quarter of a tile wide along the picture.
    expect(tiledLarge).toBeLessThan(1.5 * small);
  });
});

test('sliced() of one item is that item', () => {
  const x = keep(randomNormal([1, 2], { device, seed: 7 }));
  expect(sliced(x, (item) => item)).toBe(x);
  x.dispose();
});
