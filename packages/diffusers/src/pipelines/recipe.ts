// What a pipeline puts together for one call: who embeds the prompt, where latents start, who predicts, who decodes.
// The loop (latent-diffusion.ts) knows these values and nothing of a family of models.

import type { Device, DType, Tensor } from '@darkroom/core';
import type { Generator } from '../random/generator.ts';
import type { Schedule, Scheduler } from '../schedulers/scheduler.ts';
import type { CheckedCall } from './checked-call.ts';

/** Tensors by name, as options, callbacks and traces call them. */
export type NamedTensors = Readonly<Record<string, Tensor>>;

/** In pixels. */
export interface PixelSize {
  readonly height: number;
  readonly width: number;
}

/** Steps of a schedule that a call runs: begin … end - 1. */
export interface Window {
  readonly begin: number;
  readonly end: number;
}

/** What the first latents of a call depend on. */
export interface StartOfRun {
  readonly call: CheckedCall;
  readonly scheduler: Scheduler;
  readonly schedule: Schedule;
  readonly window: Window;
  /** One for the batch, or one for each image. */
  readonly generators: readonly Generator[];
  readonly device: Device;
  /** dtype of latents and embeddings. */
  readonly dtype: DType;
}

/** Texts and given embeddings → what the denoiser reads beside latents and time. */
export interface Conditioner {
  /** Tensors by the names that callbacks see. Runs on abstract inputs too, so it reads no values. */
  embed(call: CheckedCall, inputs: NamedTensors): NamedTensors;
}

/** Where latents start, and what keeps them in place: text to image, image to image, inpainting. */
export interface LatentStart {
  /** Default: every step. @throws ArgumentError when no step is left. */
  window?(schedule: Schedule, call: CheckedCall): Window;
  /** `latents` before the first step, and what later steps read. Runs on abstract inputs too. */
  begin(run: StartOfRun, inputs: NamedTensors): NamedTensors & { readonly latents: Tensor };
  /** Latents after step i, before the next. Default: as they are. */
  afterStep?(latents: Tensor, run: StartOfRun, tensors: NamedTensors, i: number): Tensor;
}

/** Where in the schedule a denoiser is evaluated. */
export interface ScheduledStep {
  /** Index in the schedule. */
  readonly i: number;
  readonly timestep: number;
}

/** One evaluation of the denoiser. */
export interface DenoiserStep {
  /** While a step is recorded: a tensor of one element, which models take as well, but nothing can be decided by. */
  readonly timestep: number;
  /** What the denoiser's variant() said of this step. */
  readonly variant: string;
}

/** A module that a denoiser calls, as far as traces need it. */
export interface DenoiserModule {
  readonly device: Device | undefined;
  /** Weights by name; `parameters` also those of adapters. */
  stateDict?(): ReadonlyMap<string, Tensor>;
  parameters?(): ReadonlyMap<string, Tensor>;
  /** What its attention layers compute with, by path: recordings of one do not serve another. */
  readonly attnProcessors?: Readonly<Record<string, object>>;
  readonly attnStrategies?: Readonly<Record<string, object>>;
}

/** Predicts noise (or velocity, or the clean latents) from noisy latents: a UNet, a UNet with ControlNets, a transformer. */
export interface Denoiser {
  /** As the component is called, and the dtype of its weights, for messages. */
  readonly name: string;
  readonly dtype: DType;
  /** Every module that predict() calls; a recorded step reads their weights. */
  readonly modules: readonly DenoiserModule[];
  /** Shape of what predict() gives for latents of a shape. Default: the same. */
  predictionShape?(latents: readonly number[]): readonly number[];
  /** What differs between steps, as a key: predict() decides by it, and steps with other keys are recorded apart. Default ''. */
  variant?(step: ScheduledStep): string;
  /** Latents [n or 2·n, …], scaled by the scheduler, and the call's tensors → the prediction. */
  predict(latents: Tensor, step: DenoiserStep, tensors: NamedTensors): Tensor;
  /** Shapes of tensors that a batch of latents cannot do without. */
  widest?(latents: readonly number[]): readonly (readonly number[])[];
}

/** Between pictures and the latents that the loop works on: encoding and decoding, scale, shift, packing. */
export interface LatentCodec {
  /** As the component is called, and the dtype of its weights, for messages. */
  readonly name: string;
  readonly dtype: DType;
  /** Pixels along an edge that one latent stands for; width and height must be divisible by it. */
  readonly scale: number;
  /** True: pictures are decoded one by one. */
  readonly slicing: boolean;
  /** Shape of the latents that the encoder gives for so many pictures: [n, channels, height, width]. */
  latentShape(images: number, size: PixelSize): readonly [number, number, number, number];
  /** image [n, 3, h, w] in [-1, 1] → scaled latents in latentShape, sampled from their distribution. */
  encode(image: Tensor, generators: readonly Generator[]): Tensor;
  /** Latents in latentShape → the layout that the loop works on; the same tensor where there is no other. */
  pack(latents: Tensor): Tensor;
  /** The loop's latents of a picture of `height` x `width` pixels → pixels [n, 3, height, width] in [0, 1]; NaN stays NaN. */
  decode(latents: Tensor, size: PixelSize): Tensor;
  /** Shapes of tensors that decoding so many pictures cannot do without. */
  widest(images: number, size: PixelSize): readonly (readonly number[])[];
}

/** One checked call, ready to run. */
export interface Recipe {
  readonly call: CheckedCall;
  /** What the user gave, on the device and in the dtype of activations; new handles. */
  inputs(): Promise<NamedTensors>;
  readonly conditioner: Conditioner;
  readonly start: LatentStart;
  readonly denoiser: Denoiser;
  readonly codec: LatentCodec;
}
