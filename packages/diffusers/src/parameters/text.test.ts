// The text of parameters: what is written is read again, whatever the prompt; what others wrote is read too; nothing of
// a hostile file gets further than a string.

import fc from 'fast-check';
import { fuzzRuns } from '@darkroom/core/testing';
import { expect, test } from 'vitest';
import { schedulerAliases } from '../schedulers/aliases.ts';
import type { PictureParameters } from './parameters.ts';
import { parametersText, parseParameters } from './text.ts';

const known: PictureParameters = {
  prompt: 'a fox',
  negativePrompt: 'blurry, dark',
  steps: 20,
  scheduler: 'dpm++2m_karras',
  guidanceScale: 7.5,
  seed: 5,
  width: 512,
  height: 768,
  model: 'emoji-64',
  version: 'darkroom 0.1.0',
};

test('the layout is the one that tools of this field read', () => {
  expect(parametersText(known)).toBe(
    'a fox\nNegative prompt: blurry, dark\n' +
      'Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 5, Size: 512x768, ' +
      'Model: emoji-64, Version: darkroom 0.1.0',
  );
  expect(parseParameters(parametersText(known))).toEqual(known);
});

test('what other tools wrote is read: old names of samplers, hashes, quoted values', () => {
  const text =
    'masterpiece, (fox:1.2)\nby a lake\nNegative prompt: lowres,\nbad hands\nSteps: 28, Sampler: DPM++ 2M Karras, ' +
    'CFG scale: 6, Seed: 18446744073709551615, Size: 512x512, Model hash: 6ce0161689, Model: v1-5-pruned, ' +
    'Clip skip: 2, Lora hashes: "a: 1, b: 2", Version: v1.7.0\n';
  expect(parseParameters(text)).toEqual({
    prompt: 'masterpiece, (fox:1.2)\nby a lake',
    negativePrompt: 'lowres,\nbad hands',
    steps: 28,
    scheduler: 'dpm++2m_karras',
    guidanceScale: 6,
    seed: 2n ** 64n - 1n,
    width: 512,
    height: 512,
    model: 'v1-5-pruned',
    clipSkip: 1,
    version: 'v1.7.0',
    other: { 'Model hash': '6ce0161689', 'Lora hashes': 'a: 1, b: 2' },
  });
  expect(parseParameters('a\nSteps: 1, Sampler: DPM fast, Schedule type: Uniform, Seed: 1')).toEqual({
    prompt: 'a',
    steps: 1,
    scheduler: 'DPM fast',
    seed: 1,
    other: { 'Schedule type': 'Uniform' },
  });
});

/** Texts that the layout cannot tell apart, and any other. */
const piece = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: fc.constantFrom('\n', '"', ',', ':', '\\', ' ', '\r', '\u2028', '狐', '🦊', 'a') }),
  fc.constantFrom(
    '\nNegative prompt: ',
    'Negative prompt:',
    '\nSteps: 1, Seed: 2, Size: 1x1',
    'Darkroom prompt: "x"',
  ),
);
const text = fc.array(piece, { maxLength: 4 }).map((parts) => parts.join(''));
const optional = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(value, { nil: undefined });
const anyParameters = fc
  .record({
    prompt: text,
    negativePrompt: optional(text),
    steps: optional(fc.integer({ min: 1, max: 1000 })),
    scheduler: optional(fc.constantFrom(...Object.keys(schedulerAliases), 'MyScheduler')),
    guidanceScale: optional(fc.double({ noNaN: true, noDefaultInfinity: true }).map((v) => v + 0)),
    strength: optional(fc.double({ min: 0.01, max: 1, noNaN: true })),
    clipSkip: optional(fc.integer({ min: 1, max: 9 })),
    seed: optional(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((v) => (v < 2n ** 53n ? Number(v) : v))),
    model: optional(text),
    version: optional(text),
    other: optional(fc.constant({ 'Model hash': 'abc', Note: 'a, "b": c\n' })),
  })
  .map(
    (p) =>
      Object.fromEntries(
        Object.entries(p).filter(([, v]) => v !== undefined),
      ) as unknown as PictureParameters,
  );

test('every prompt, negative prompt, model and number comes back', () => {
  fc.assert(
    fc.property(anyParameters, (parameters) => {
      expect(parseParameters(parametersText(parameters))).toEqual(parameters);
    }),
    fuzzRuns(1000),
  );
});

test('hostile texts give records of known fields, or nothing', () => {
  const fields = 'Steps: 1, Seed: 2, Size: 1x1';
  const evil = `x\n${fields}, __proto__: a, constructor: b, prototype: c, Steps: 9, Sampler: toString`;
  const read = parseParameters(evil)!;
  expect(read).toEqual({ prompt: 'x', steps: 1, seed: 2, width: 1, height: 1, scheduler: 'toString' });
  expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
  expect(parametersText({ prompt: 'x', scheduler: '__proto__', steps: 1, seed: 1 })).toContain(
    'Sampler: __proto__',
  );
  expect(parseParameters('x'.repeat(2 ** 18 + 1))).toBeUndefined();
  for (const none of ['', '\n', 'a fox', 'Steps: 1', '\0\0']) expect(parseParameters(none)).toBeUndefined();
  const wrong = parseParameters('x\nSteps: 1e99, Seed: -4, Size: 9999999x1, CFG scale: NaN, Clip skip: 0.5');
  expect(wrong).toEqual({ prompt: 'x' });
  const many = Array.from({ length: 5000 }, (_, i) => `Key ${i}: v`).join(', ');
  expect(Object.keys(parseParameters(`x\n${many}`)!.other!).length).toBe(200);
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (any) => {
      parseParameters(any);
      parseParameters(`${any}\n${fields}, ${any}`);
    }),
    fuzzRuns(500),
  );
  expect(parseParameters(`x\n${fields}, Note: "${'\\"'.repeat(100_000)}`)?.seed).toBe(2);
});
