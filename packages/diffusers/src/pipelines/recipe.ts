// The parts of one call, which a pipeline puts together: conditioner, start of the latents, denoiser, latent codec.
// The loop (latent-diffusion.ts) uses these interfaces and depends on no family of models.

import type { Device, DType, Module, Tensor } from '@darkroom/core';
import type { Generator } from '../random/generator.ts';
import type { Schedule, Scheduler } from '../schedulers/scheduler.ts';
import type { CheckedCall } from './checked-call.ts';
import type { EncodeTexts } from './conditioners/encode-texts.ts';

/** Tensors by the names that options, callbacks and traces use. */
export type NamedTensors = Readonly<Record<string, Tensor>>;

/** Height and width in pixels. */
export interface PixelSize {
  readonly height: number;
  readonly width: number;
}

/** The steps of a schedule that a call runs: begin … end - 1. */
export interface Window {
  readonly begin: number;
  readonly end: number;
}

/** The values of a call that a LatentStart reads. */
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

/** Texts or given embeddings → the tensors that the denoiser reads beside latents and timestep. */
export interface Conditioner {
  /**
   * The embeddings, by the names that callbacks see. Must accept abstract inputs: it reads no values of tensors.
   * `encode`: runs a text encoder, by a trace where there is one; default: op by op.
   */
  embed(call: CheckedCall, inputs: NamedTensors, encode?: EncodeTexts): NamedTensors;
}

/** The first latents of a call, and changes after each step: text to image, image to image, inpainting. */
export interface LatentStart {
  /** Amount of noise mixed into a given picture; undefined where none is given. */
  readonly strength?: number;
  /** The steps to run; default: every step. @throws ArgumentError if there is none. */
  window?(schedule: Schedule, call: CheckedCall): Window;
  /** `latents` before the first step, and tensors that later steps read. Must accept abstract inputs. */
  begin(run: StartOfRun, inputs: NamedTensors): NamedTensors & { readonly latents: Tensor };
  /** Changes the latents after step i; default: leaves them. */
  afterStep?(latents: Tensor, run: StartOfRun, tensors: NamedTensors, i: number): Tensor;
}

/** A step of the schedule. */
export interface ScheduledStep {
  /** Index in the schedule. */
  readonly i: number;
  readonly timestep: number;
}

/** One evaluation of the denoiser. */
export interface DenoiserStep {
  /** While a step is recorded, a tensor of one element at run time: pass it to models, do not branch on its value. */
  readonly timestep: number;
  /** The result of the denoiser's variant() for this step. */
  readonly variant: string;
}

/** A module that a denoiser calls, by the members that traces read. */
export interface DenoiserModule {
  readonly device: Device | undefined;
  /** Weights by name; `parameters` includes those of adapters. */
  stateDict?(): ReadonlyMap<string, Tensor>;
  parameters?(): ReadonlyMap<string, Tensor>;
  /** Processors and strategies of the attention layers, by path: a trace is made for one set of them. */
  readonly attnProcessors?: Readonly<Record<string, object>>;
  readonly attnStrategies?: Readonly<Record<string, object>>;
}

/**
 * Predicts noise (or velocity, or the clean latents) from noisy latents: a UNet, a UNet with ControlNets, a
 * transformer.
 */
export interface Denoiser {
  /** Name of the component and dtype of its weights, for messages. */
  readonly name: string;
  readonly dtype: DType;
  /** Every module that predict() calls; a recorded step reads their weights. */
  readonly modules: readonly DenoiserModule[];
  /** Shape of predict()'s result for latents of a shape; default: the same shape. */
  predictionShape?(latents: readonly number[]): readonly number[];
  /**
   * A key of the step, for a predict() that branches on the step: it branches on the key, and each key is traced
   * separately. Default ''.
   */
  variant?(step: ScheduledStep): string;
  /** Latents [n or 2·n, …], scaled by the scheduler, and the call's tensors → the prediction. */
  predict(latents: Tensor, step: DenoiserStep, tensors: NamedTensors): Tensor;
  /** Shapes of the largest tensors that predict() allocates for a batch of latents. */
  widest?(latents: readonly number[]): readonly (readonly number[])[];
}

/** Converts between pictures and the latents of the loop: encoding and decoding, scale, shift, packing. */
export interface LatentCodec {
  /** Name of the component and dtype of its weights, for messages. */
  readonly name: string;
  readonly dtype: DType;
  /** Pixels along an edge that one latent stands for; width and height must be divisible by it. */
  readonly scale: number;
  /** True: pictures are decoded one by one. */
  readonly slicing: boolean;
  /** Shape of the encoder's latents for a number of pictures: [n, channels, height, width]. */
  latentShape(images: number, size: PixelSize): readonly [number, number, number, number];
  /** image [n, 3, h, w] in [-1, 1] → scaled latents in latentShape, sampled from their distribution. */
  encode(image: Tensor, generators: readonly Generator[]): Tensor;
  /** Every module that decode() calls, where one trace may stand for it; default: it runs op by op. */
  readonly decoders?: readonly Module[];
  /** Latents in latentShape → the loop's layout; the same tensor if the layouts are equal. */
  pack(latents: Tensor): Tensor;
  /** The loop's latents → pixels [n, 3, height, width] in [0, 1]; `size` is that of a picture. NaN stays NaN. */
  decode(latents: Tensor, size: PixelSize): Tensor;
  /** Shapes of the largest tensors that decoding a number of pictures allocates. */
  widest(images: number, size: PixelSize): readonly (readonly number[])[];
}

/** One checked call, ready to run. */
export interface Recipe {
  readonly call: CheckedCall;
  /**
   * The user's tensors and pictures on the pipeline's device and in its computeDtype; new handles, owned by the caller.
   */
  inputs(): Promise<NamedTensors>;
  readonly conditioner: Conditioner;
  readonly start: LatentStart;
  readonly denoiser: Denoiser;
  readonly codec: LatentCodec;
}
