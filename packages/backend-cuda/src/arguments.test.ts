// Kernel arguments as C lays them out.

import { expect, test } from 'vitest';
import { ArgumentBlock } from './arguments.ts';

test('aligns each argument to its size and ends with the last one', () => {
  const block = new ArgumentBlock(['i32', 'pointer', 'f32', 'u32', 'i32', 'i64', 'i32']);
  expect(block.buffer.byteLength).toBe(44);
  block.setAll([-1, 2 ** 47 + 9, 0.5, 2 ** 32 - 1, 7, -5, 3]);
  const view = new DataView(block.buffer);
  expect(view.getInt32(0, true)).toBe(-1);
  expect(view.getBigUint64(8, true)).toBe(2n ** 47n + 9n);
  expect(view.getFloat32(16, true)).toBe(0.5);
  expect(view.getUint32(20, true)).toBe(2 ** 32 - 1);
  expect(view.getInt32(24, true)).toBe(7);
  expect(view.getBigInt64(32, true)).toBe(-5n);
  expect(view.getInt32(40, true)).toBe(3);
  expect(new ArgumentBlock([]).buffer.byteLength).toBe(0);
});
