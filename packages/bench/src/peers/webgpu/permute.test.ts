import { describe, expect, it } from 'vitest';
import { permute } from './permute.ts';

describe('permute', () => {
  it('moves axes as indices say', () => {
    const shape = [2, 3, 4];
    const order = [2, 0, 1];
    const values = Float32Array.from({ length: 24 }, (_, i) => i);
    const got = permute(values, shape, order);
    for (let a = 0; a < 2; a++)
      for (let b = 0; b < 3; b++)
        for (let c = 0; c < 4; c++) expect(got[c * 6 + a * 3 + b]).toBe(values[a * 12 + b * 4 + c]);
  });

  it('is undone by the inverse order', () => {
    const values = Float32Array.from({ length: 120 }, (_, i) => Math.sin(i));
    const there = permute(values, [2, 3, 4, 5], [0, 2, 3, 1]);
    expect(permute(there, [2, 4, 5, 3], [0, 3, 1, 2])).toEqual(values);
  });
});
