// What a call asks for, once its arguments are checked.

/** What one text encoder reads, one text a prompt. */
export interface Texts {
  /** Undefined when embeddings are given. */
  readonly prompts: readonly string[] | undefined;
  /** Undefined when the user gave none. */
  readonly negatives: readonly string[] | undefined;
}

/** A checked call. `images` = prompts × numImagesPerPrompt. */
export interface CheckedCall {
  /** One for each text encoder. */
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
  /** Of each picture, in pixels. */
  readonly height: number;
  readonly width: number;
  /** [images, channels, height/scale, width/scale]: latents as the codec's encoder gives them. */
  readonly latentShape: readonly [number, number, number, number];
  readonly schedule: { numInferenceSteps?: number; timesteps?: number[]; sigmas?: number[] };
}
