// Cases of kinds clip_text, unet, unet_trace, vae_encode, vae_decode: whole modules and their inner activations.

import { keep, silu, Tensor } from '@darkroom/core';
import type { AnyModule, DataArray, Hook } from '@darkroom/core';
import type { AutoencoderKL, CLIPTextModel, UNet2DConditionModel } from '@darkroom/diffusers';
import type { CaseContext, CaseResult } from './context.ts';

/** Reads each tensor to the host and frees it. */
async function toHost(
  tensors: Readonly<Record<string, Tensor | undefined>>,
): Promise<Map<string, DataArray>> {
  const out = new Map<string, DataArray>();
  for (const [name, t] of Object.entries(tensors)) {
    if (!t) continue;
    out.set(name, await t.data());
    t.dispose();
  }
  return out;
}

export async function runClipText(context: CaseContext): Promise<CaseResult> {
  const { test } = context;
  const className = test.outputs?.['text_embeds'] ? 'CLIPTextModelWithProjection' : 'CLIPTextModel';
  const model = (await context.model(test.subfolder!, className, test.weights)) as CLIPTextModel;
  const flat = await context.inputValues('input_ids');
  const [rows, length] = test.inputs!['input_ids']!.shape as [number, number];
  const ids = Array.from({ length: rows }, (_, i) => [...flat.subarray(i * length, (i + 1) * length)]);
  const run = (given: readonly (readonly number[])[]): Record<string, Tensor | undefined> => {
    const out = model.call(given, { dtype: 'float32' });
    const named: Record<string, Tensor | undefined> = {
      last_hidden_state: out.lastHiddenState,
      pooler_output: out.poolerOutput,
      text_embeds: out.textEmbeds,
    };
    for (const [i, h] of out.hiddenStates.entries()) named[`hidden_${i}`] = h;
    return named;
  };
  return toHost(await context.call({ call: run, stateDict: () => model.stateDict() }, ids));
}

/** One value, or one for each of the batch. */
function timesteps(values: DataArray): number | number[] {
  return values.length === 1 ? values[0]! : [...values];
}

/** The result of `look` for the sample of the case's UNet. */
async function unetOutputs<T extends Readonly<Record<string, Tensor>>>(
  context: CaseContext,
  model: UNet2DConditionModel,
  look: (sample: Tensor) => T,
): Promise<T> {
  const { test } = context;
  const sample = await context.input('sample');
  const encoderHiddenStates = await context.input('encoder_hidden_states');
  const t = timesteps(await context.inputValues('timestep'));
  const addedCond = test.inputs!['text_embeds'] && {
    textEmbeds: await context.input('text_embeds'),
    timeIds: await context.input('time_ids'),
  };
  type Args = Parameters<UNet2DConditionModel['call']>;
  const call = (...args: Args): T => look(model.call(...args).sample);
  const conditioning = { encoderHiddenStates, ...(addedCond && { addedCond }) };
  return context.call({ call, stateDict: () => model.stateDict() }, sample, t, conditioning);
}

export async function runUnet(context: CaseContext): Promise<CaseResult> {
  const model = (await context.model(
    context.test.subfolder!,
    'UNet2DConditionModel',
    context.test.weights,
  )) as UNet2DConditionModel;
  return toHost(await unetOutputs(context, model, (out) => ({ out })));
}

/** The first tensor of a module's result, as a forward hook of torch sees it. */
function firstTensor(value: unknown): Tensor | undefined {
  if (value instanceof Tensor) return value;
  if (typeof value !== 'object' || value === null) return undefined;
  for (const v of Object.values(value)) {
    const found = firstTensor(v);
    if (found) return found;
  }
  return undefined;
}

/**
 * Records a module's output. A fused activation (a norm's second argument) is removed from the call and applied after
 * recording, since hooks of the reference see the module alone.
 */
function recordingHook(path: string, into: Map<string, Tensor>): Hook {
  let activated = false;
  return {
    name: 'conformance',
    traceable: true,
    preForward(_, args) {
      activated = args[1] === 'silu';
      return activated ? [args[0]] : undefined;
    },
    postForward(_, output) {
      const t = firstTensor(output);
      if (t) into.set(path, keep(t.alias()));
      return activated && t ? silu(t) : undefined;
    },
  };
}

export async function runUnetTrace(context: CaseContext): Promise<CaseResult> {
  const { test } = context;
  const model = (await context.model(
    test.subfolder!,
    'UNet2DConditionModel',
    test.weights,
  )) as UNet2DConditionModel;
  const seen = new Map<string, Tensor>();
  const hooked: AnyModule[] = [];
  const modules = new Map(model.namedModules());
  try {
    for (const path of Object.keys(test.outputs!)) {
      if (path === 'out') continue;
      const module = modules.get(path);
      if (!module) return { failure: `the model has no module '${path}'` };
      module.addHook(recordingHook(path, seen));
      hooked.push(module);
    }
    return await toHost(await unetOutputs(context, model, (out) => ({ ...Object.fromEntries(seen), out })));
  } finally {
    for (const module of hooked) module.removeHook('conformance');
  }
}

export async function runVaeEncode(context: CaseContext): Promise<CaseResult> {
  const model = (await context.model(
    context.test.subfolder!,
    'AutoencoderKL',
    context.test.weights,
  )) as AutoencoderKL;
  const image = await context.input('image');
  const run = (x: Tensor): Record<string, Tensor> => {
    const d = model.encode(x);
    return { mean: d.mean, logvar: d.logvar, std: d.std, mode: d.mode().alias() };
  };
  return toHost(await context.call({ call: run, stateDict: () => model.stateDict() }, image));
}

export async function runVaeDecode(context: CaseContext): Promise<CaseResult> {
  const model = (await context.model(
    context.test.subfolder!,
    'AutoencoderKL',
    context.test.weights,
  )) as AutoencoderKL;
  const z = await context.input('z');
  const run = (latents: Tensor): Record<string, Tensor> => ({ image: model.decode(latents) });
  return toHost(await context.call({ call: run, stateDict: () => model.stateDict() }, z));
}
