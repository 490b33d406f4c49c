import { expect, test } from 'vitest';
import { philox4x32 } from './philox.ts';
import { TorchCudaGenerator } from './torch-cuda-generator.ts';

// Random123's known-answer vectors for philox4x32-10.
test.each([
  [
    [0, 0, 0, 0],
    [0, 0],
    [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  ],
  [
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    [0xffffffff, 0xffffffff],
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  ],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  ],
] as const)('philox4x32-10 of counter %j', (counter, key, want) => {
  const out = new Uint32Array(4);
  philox4x32(counter, key, out);
  expect([...out]).toEqual(want);
});

test('draws are standard normal and advance the offset', () => {
  const g = new TorchCudaGenerator(42);
  const values = Array.from(g.randn(65536));
  const mean = values.reduce((a: number, b: number) => a + b, 0) / values.length;
  const variance = values.reduce((a: number, b: number) => a + (b - mean) ** 2, 0) / values.length;
  expect(Math.abs(mean) <= 0.02).toBe(true);
  expect(Math.abs(variance - 1) <= 0.02).toBe(true);
  expect(g.offset).toBe(4);
  const again = g.clone();
  expect(g.randn(10)).toEqual(again.randn(10));
});

test('an element does not depend on the GPU as long as one wave of threads holds the draw', () => {
  const small = new TorchCudaGenerator(1, { multiProcessorCount: 64 }).randn(16384);
  expect(new TorchCudaGenerator(1, { multiProcessorCount: 132 }).randn(16384)).toEqual(small);
});

test('a draw that no longer fits takes several values a thread', () => {
  const g = new TorchCudaGenerator(1, { multiProcessorCount: 1, maxThreadsPerMultiProcessor: 256 });
  expect(g.randn(256 * 4 + 1).length).toBe(1025);
  expect(g.offset).toBe(8);
});

test('bad layouts are refused', () => {
  expect(() => new TorchCudaGenerator(1, { multiProcessorCount: 0 })).toThrow(
    'multiProcessorCount: must be an integer >= 1, got 0',
  );
  expect(() => new TorchCudaGenerator(1, {}, 3)).toThrow('offset: must be a multiple of 4, got 3');
});
