import { expect, test } from 'vitest';
import { TorchCpuGenerator } from './torch-cpu-generator.ts';
import { Mt19937 } from './mt19937.ts';
import type { RandomDType } from './generator.ts';

const near = (got: ArrayLike<number>, want: readonly number[], atol = 2e-6): void => {
  expect(got.length).toBe(want.length);
  want.forEach((w, i) => expect(Math.abs(got[i]! - w) <= atol, `[${i}] ${got[i]} for ${w}`).toBe(true));
};

test('the engine gives the published values of MT19937 for seed 5489', () => {
  const engine = new Mt19937(5489);
  expect([engine.next(), engine.next(), engine.next()]).toEqual([3499211612, 581869302, 3890346734]);
  for (let i = 3; i < 9999; i++) engine.next();
  expect(engine.next()).toBe(4123659995); // the 10,000th, as the C++ standard requires
});

test('torch.randn with seed 0 and 42', () => {
  near(new TorchCpuGenerator(0).randn(3), [1.5409961, -0.2934289, -2.1787894]);
  near(new TorchCpuGenerator(42).randn(16).subarray(0, 3), [1.9269153, 1.4872841, 0.9007172]);
});

test('only the low 32 bits of a seed matter', () => {
  expect(new TorchCpuGenerator(7n + (1n << 40n)).randn(20)).toEqual(new TorchCpuGenerator(7).randn(20));
});

test.each<RandomDType>(['float32', 'float16', 'bfloat16', 'float64'])(
  'clone and state go on alike in %s',
  (dtype) => {
    const a = new TorchCpuGenerator(3);
    a.randn(5, dtype); // leaves a cached value behind
    const b = a.clone();
    const c = TorchCpuGenerator.fromState(a.getState());
    const want = [a.randn(3, dtype), a.randn(37, dtype), a.uniform(4, dtype)];
    expect([b.randn(3, dtype), b.randn(37, dtype), b.uniform(4, dtype)]).toEqual(want);
    expect([c.randn(3, dtype), c.randn(37, dtype), c.uniform(4, dtype)]).toEqual(want);
  },
);

test('uniform values of half types never reach 1', () => {
  expect(Math.max(...new TorchCpuGenerator(1).uniform(20000, 'bfloat16'))).toBeLessThan(1);
});

test('bad seeds and counts are refused with both values', () => {
  expect(() => new TorchCpuGenerator(1.5)).toThrow(
    'seed: must be an integer of at most 2^53 (use a bigint beyond), got 1.5',
  );
  expect(() => new TorchCpuGenerator(1n << 64n)).toThrow('seed: must fit 64 bits');
  expect(() => new TorchCpuGenerator(0).randn(-1)).toThrow('randn: count must be an integer >= 0, got -1');
  expect(() => new TorchCpuGenerator(0).randn(1, 'int8' as RandomDType)).toThrow(
    /dtype must be one of .* got int8/,
  );
});
