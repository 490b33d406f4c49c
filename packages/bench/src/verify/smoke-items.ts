// The ten items of the smoke test, from opening the device to a picture.

import { attention, full, keep, linear, randomNormal, scope, silu, trace } from '@darkroom/core';
import type { Device, Tensor } from '@darkroom/core';
import { definitionOf, dispatch } from '@darkroom/core/backend';
import type { Slice } from '@darkroom/core/backend';
import { buildInput, choosing, firstMismatch } from '@darkroom/core/testing';
import { openCuda } from '@darkroom/backend-cuda';
import { chosen, nameOf, resultOf } from './compare.ts';
import type { ChosenCase } from './compare.ts';
import { machine } from './machine.ts';
import { drawBeside } from './picture.ts';
import type { SmokeContext, SmokeItem } from './smoke-item.ts';
import {
  attentionCase, convCase, isLibrary, libraryCases, modelCases, plainCases, product, sharedMemoryCases, tileCases,
} from './smoke-cases.ts'; // prettier-ignore

/** Allocation, pinned memory, fill, the pool, and a large copy. */
async function memory({ device, options, tell }: SmokeContext): Promise<void> {
  const { backend } = device;
  const bytes = options.tiny ? 1 << 16 : 64 << 20;
  const whole = (buffer: Slice['buffer']): Slice => ({ buffer, offset: 0, bytes });
  const [a, b] = [backend.alloc(bytes), backend.alloc(bytes)];
  const pinned = backend.caps.pinned ? backend.alloc(bytes, 'pinned') : undefined;
  const values = Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + (i >> 8)) % 251);
  if (pinned) {
    backend.write(whole(pinned), values);
    backend.copy(whole(a), whole(pinned));
  } else backend.write(whole(a), values);
  backend.copy(whole(b), whole(a));
  const back = await backend.read(whole(b));
  const at = values.findIndex((v, i) => v !== back[i]);
  if (at >= 0) throw new Error(`byte ${at} of ${bytes} was written as ${values[at]}, is read as ${back[at]}`);
  const ms = await backend.time(() => backend.copy(whole(b), whole(a)));
  tell('copy on the device, GB/s', (2e-6 * bytes) / ms);
  if (pinned) {
    const up = await backend.time(() => backend.copy(whole(a), whole(pinned)));
    tell('upload from pinned memory, GB/s', (1e-6 * bytes) / up);
    backend.free(pinned);
  }
  tell('bytes reserved', backend.reserved?.());
  for (const buffer of [a, b]) backend.free(buffer);
  await backend.idle();
  backend.trim?.();
  tell('bytes reserved after trim', backend.reserved?.());
  using sevens = full([1000], 7, { device });
  const seven = (await sevens.data()).findIndex((v) => v !== 7);
  if (seven >= 0) throw new Error(`fill: element ${seven} is not 7`);
}

/** A traced function replayed, its inputs changed, scratch memory moved, and replayed again: eager's bits every time. */
async function capture({ device: given, options, tell }: SmokeContext): Promise<void> {
  // Our own kernels: libraries have items of their own.
  const device = choosing(given, (all) => {
    const own = all.filter((c) => !isLibrary(c.id));
    return own.length > 0 ? own : all;
  });
  const dtype = 'float16';
  const width = options.tiny ? 16 : 320;
  const rows = options.tiny ? 32 : 512;
  const w = keep(randomNormal([width, width], { seed: 1, device, dtype }));
  const body = (x: Tensor): Tensor =>
    scope(() => {
      const h = silu(linear(x, w));
      const heads = h.view([1, 2, rows, width / 2]);
      return linear(attention(heads, heads, heads).view([rows, width]), w);
    });
  const inputs = [2, 3, 4, 5, 6].map((seed) => keep(randomNormal([rows, width], { seed, device, dtype })));
  const f = { device, stateDict: () => new Map([['w', w]]), call: body };
  const traced = await trace(f, [inputs[0]!], { passes: [] });
  const same = async (x: Tensor, when: string): Promise<void> => {
    using got = traced.call(x);
    using want = body(x);
    const at = firstMismatch(await got.data(), await want.data(), { atol: 0, rtol: 0 });
    if (at >= 0) throw new Error(`${when}: traced differs from eager at element ${at}`);
  };
  const { counters } = device.backend as { readonly counters?: { readonly launches: number } };
  const launches = (): number => counters?.launches ?? NaN;
  for (const [i, x] of inputs.slice(0, 3).entries()) await same(x, `run ${i + 1}`);
  const before = launches();
  traced.call(inputs[0]!).dispose();
  tell('launches of a replay', launches() - before);
  // A sum shared by many workgroups takes more scratch memory than the trace did.
  const k = options.tiny ? 512 : 16384;
  using a = keep(randomNormal([64, k], { seed: 7, device, dtype }));
  scope(() => linear(a, randomNormal([1280, k], { seed: 8, device, dtype }))).dispose();
  for (const x of inputs.slice(3)) await same(x, 'after scratch memory moved');
  traced.dispose();
  for (const x of [...inputs, w]) x.dispose();
}

/** A library's kernels beside the CPU's; with cuDNN, again on a second device, which may find plans in the cache. */
const library =
  (name: 'cublasLt' | 'cudnn', offered: (device: Device) => readonly ChosenCase[], most: number) =>
  async (context: SmokeContext): Promise<void> => {
    const { compare, tell, device, options } = context;
    const cases = offered(device);
    if (cases.length === 0) {
      tell('offered', `${name} offers nothing here`);
      if (options.device === 'cuda' && isWanted() && openCuda()[name])
        throw new Error(`${name} was found but offers no kernel for these cases`);
      return;
    }
    const seconds: Record<string, unknown> = {};
    const run = async (on: string, body: (c: ChosenCase) => Promise<unknown>): Promise<void> => {
      for (const c of cases.slice(0, most)) {
        const start = performance.now();
        await body(c);
        seconds[`${on}: ${nameOf(c)}`] = Math.round(performance.now() - start);
      }
    };
    tell('ms', seconds);
    const wrong: string[] = [];
    await run('first', (c) => compare([c]).catch((error: Error) => wrong.push(error.message)));
    if (wrong.length > 0) throw new Error(wrong.join('; '));
    const second = await context.open('off');
    await run('second device', (c) => resultOf(c.test, chosen(second, c)));
    await replayed(context, cases[0]!);
  };

const isWanted = (): boolean => process.env['DARKROOM_CUDA_LIBRARIES'] !== 'none';

/** A case by one choice in a trace, which is captured at its second run. */
async function replayed({ device }: SmokeContext, c: ChosenCase): Promise<void> {
  const on = chosen(device, c);
  const { op } = c.test;
  const inputs = scope(() => c.test.inputs.map((spec, i) => keep(buildInput(spec, i, on))));
  const call = (...given: Tensor[]): Tensor => dispatch(definitionOf(op), op, given);
  const traced = await trace({ device: on, stateDict: () => new Map(), call }, inputs, { passes: [] });
  using want = call(...inputs);
  for (let i = 0; i < 3; i++) {
    using got = traced.call(...inputs);
    const at = firstMismatch(await got.data(), await want.data(), { atol: 0, rtol: 0 });
    if (at >= 0)
      throw new Error(`${nameOf(c)}: run ${i + 1} of its trace differs from eager at element ${at}`);
  }
  traced.dispose();
  for (const x of inputs) x.dispose();
}

const products = (device: Device): readonly ChosenCase[] =>
  [product('float16', [154, 320, 640]), product('bfloat16', [130, 64, 96])]
    .flatMap((test) => libraryCases(device, test, 1))
    .filter((c) => c.id!.startsWith('cublaslt'));
const cudnnGraphs = (device: Device): readonly ChosenCase[] =>
  [
    convCase('float16', 'bias', 16),
    convCase('float16', 'residual', 16),
    attentionCase('float16', 256, 256, 40),
    attentionCase('float16', 256, 77, 80),
  ]
    .flatMap((test) => libraryCases(device, test, 2))
    .filter((c) => c.id!.startsWith('cudnn'));

/** In order: what works must not depend on what comes after it. */
export const smokeItems: readonly SmokeItem[] = [
  { name: '1 machine', run: machine },
  { name: '2 memory', run: memory },
  { name: '3 map, copy, layerNorm', cases: plainCases, run: ({ compare }, cases) => compare(cases) },
  { name: '4 tensor-core tiles', cases: tileCases, run: ({ compare }, cases) => compare(cases) },
  { name: '5 conv2d, attention, groupNorm', cases: modelCases, run: ({ compare }, cases) => compare(cases) },
  { name: '6 shared memory', cases: sharedMemoryCases, run: ({ compare }, cases) => compare(cases) },
  { name: '7 capture', run: capture },
  { name: '8 cublasLt', run: library('cublasLt', products, 2) },
  { name: '9 cudnn', run: library('cudnn', cudnnGraphs, 6) },
  {
    name: '10 picture',
    run: async ({ options, device, tell }) => {
      const { largest, mean, failure } = await drawBeside(options, device, 1);
      tell('largest', largest);
      tell('mean', mean);
      if (failure) throw new Error(failure);
    },
  },
];
