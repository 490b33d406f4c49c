// Small models of many configs against the reference: every key of the UNet, the VAE and the text encoders is computed as
// diffusers and transformers compute it, or refused by name. The cases: fixtures/configs.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cpu } from '@darkroom/backend-cpu';
import { FormatError, openSafetensors, memorySource, scope } from '@darkroom/core';
import type { Device, Tensor } from '@darkroom/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { callEagerly, callTraced } from './call.ts';
import type { Call } from './call.ts';
import { mismatch } from './compare.ts';
import type { CaseTolerance } from './manifest.ts';
import {
  AutoencoderKL,
  CLIPTextModel,
  CLIPTextModelWithProjection,
  UNet2DConditionModel,
} from '@darkroom/diffusers';
import { derivedInput, derivedWeights, root } from '@darkroom/diffusers/testing';
import type { ConfigRecord } from '@darkroom/diffusers/testing';

interface ConfigCase {
  readonly id: string;
  readonly kind: 'unet' | 'vae' | 'clip';
  readonly config: ConfigRecord;
  /** The key that the error must name. */
  readonly refused?: string;
  /** The reference cannot compute it. */
  readonly failed?: true;
  readonly inputs?: Readonly<Record<string, readonly number[]>>;
  readonly timestep?: number;
  readonly classes?: readonly number[];
  readonly ids?: readonly (readonly number[])[];
  /** Keys of outputs.safetensors by name. */
  readonly outputs?: Readonly<Record<string, string>>;
}

const folder = join(root, 'fixtures/configs');
const { cases, tolerance } = JSON.parse(readFileSync(join(folder, 'cases.json'), 'utf8')) as {
  cases: ConfigCase[];
  tolerance: CaseTolerance;
};
const stored = openSafetensors(
  memorySource(new Uint8Array(readFileSync(join(folder, 'outputs.safetensors')))),
);
const wanted = async (key: string): Promise<Float32Array> =>
  new Float32Array(new Uint8Array(await (await stored).bytes(key)).buffer);

let device: Device;
beforeAll(async () => {
  device = await cpu({ threads: 1 });
});
afterAll(() => {
  expect(device.memory().live).toBe(0);
  device[Symbol.dispose]();
});

type Outputs = Readonly<Record<string, Tensor>>;
const inputsOf = ({ inputs }: ConfigCase): Outputs =>
  Object.fromEntries(
    Object.entries(inputs!).map(([name, shape]) => [name, derivedInput(name, shape, device)]),
  );

async function runUNet(c: ConfigCase, call: Call = callEagerly): Promise<Outputs> {
  using unet = derivedWeights(UNet2DConditionModel.fromConfig(c.config, 'a.json'), device);
  const x = inputsOf(c);
  const labels = c.classes ?? x['class_labels'];
  try {
    return {
      ...(await call(unet, x['sample']!, c.timestep!, {
        encoderHiddenStates: x['encoder_hidden_states']!,
        ...(labels && { classLabels: labels }),
        ...(x['timestep_cond'] && { timestepCond: x['timestep_cond'] }),
        ...(x['text_embeds'] && { addedCond: { textEmbeds: x['text_embeds'], timeIds: x['time_ids']! } }),
      })),
    };
  } finally {
    for (const t of Object.values(x)) t.dispose();
  }
}

async function runVae(c: ConfigCase): Promise<Outputs> {
  using vae = derivedWeights(AutoencoderKL.fromConfig(c.config, 'a.json'), device);
  return scope(() => {
    const x = inputsOf(c);
    const { mean, logvar } = vae.encode(x['image']!);
    return { mean, logvar, image: vae.decode(x['latents']!) };
  });
}

async function runClip(c: ConfigCase): Promise<Outputs> {
  using plain = derivedWeights(CLIPTextModel.fromConfig(c.config, 'a.json'), device);
  using projecting = derivedWeights(CLIPTextModelWithProjection.fromConfig(c.config, 'a.json'), device);
  return scope(() => {
    const out = plain.call(c.ids!);
    return {
      last_hidden_state: out.lastHiddenState,
      pooler_output: out.poolerOutput,
      hidden: out.hiddenStates.at(-2)!,
      text_embeds: projecting.call(c.ids!).textEmbeds!,
    };
  });
}

const runs = { unet: runUNet, vae: runVae, clip: runClip };

/** Why the outputs are not the reference's; undefined where they are. */
async function difference(
  c: ConfigCase,
  run: (c: ConfigCase) => Promise<Outputs>,
): Promise<string | undefined> {
  const outputs = await run(c);
  try {
    for (const [name, key] of Object.entries(c.outputs!)) {
      const reason = mismatch(await outputs[name]!.data(), await wanted(key), tolerance);
      if (reason !== undefined) return `${name}: ${reason}`;
    }
    return undefined;
  } finally {
    for (const t of Object.values(outputs)) t.dispose();
  }
}

function refusal(c: ConfigCase): string {
  try {
    const { kind, config } = c;
    if (kind === 'unet') UNet2DConditionModel.fromConfig(config, 'a.json');
    else if (kind === 'vae') AutoencoderKL.fromConfig(config, 'a.json');
    else CLIPTextModelWithProjection.fromConfig(config, 'a.json');
  } catch (error) {
    expect(error).toBeInstanceOf(FormatError);
    return (error as Error).message;
  }
  return 'nothing was refused';
}

describe('computed as the reference computes it', () => {
  const computed = cases.filter((c) => c.refused === undefined && !c.failed);
  test.each(computed.map((c) => [c.id, c] as const))('%s', async (_, c) => {
    expect(await difference(c, runs[c.kind])).toBeUndefined();
  });
});

describe('traced: eager bits without passes, and as the reference with them', () => {
  const distilled = cases.filter((c) => /^unet: (ssd-1b|vega)/.test(c.id));
  test.each(distilled.map((c) => [c.id, c] as const))('%s', async (_, c) => {
    expect(await difference(c, async (one) => runUNet(one, callTraced(device)))).toBeUndefined();
  });
});

describe('refused by name', () => {
  const refused = cases.filter((c) => c.refused !== undefined);
  test.each(refused.map((c) => [c.id, c] as const))('%s', (_, c) => {
    expect(refusal(c)).toContain(`a.json: '${c.refused}' `);
  });
});

test('what the reference cannot compute is refused, naming a key', () => {
  for (const c of cases.filter(({ failed }) => failed)) {
    const key = /^a\.json: '(\w+)' /.exec(refusal(c))?.[1];
    expect([c.id, key]).not.toEqual([c.id, undefined]);
  }
});
