// The arguments of a call after checking.

/** The texts of one encoder, one for each prompt. */
export interface Texts {
  /** Undefined when embeddings are given. */
  readonly prompts: readonly string[] | undefined;
  /** Undefined when the user gave none. */
  readonly negatives: readonly string[] | undefined;
}

/** A checked call. `images` = prompts × numImagesPerPrompt. */
export interface CheckedCall {
  /** By text encoder. */
  readonly texts: readonly Texts[];
  /** Number of prompts. */
  readonly count: number;
  readonly imagesPerPrompt: number;
  readonly images: number;
  readonly guided: boolean;
  readonly guidanceScale: number;
  readonly guidanceRescale: number;
  readonly eta: number;
  readonly clipSkip: number | undefined;
  /** Pixels of each picture. */
  readonly height: number;
  readonly width: number;
  /** `[images, channels, height/scale, width/scale]`: the latents before packing. */
  readonly latentShape: readonly [number, number, number, number];
  readonly schedule: { numInferenceSteps?: number; timesteps?: number[]; sigmas?: number[] };
}
