// How a picture was drawn: what a pipeline knows of it, and what is written beside the pixels.

/** How a picture was drawn. What is not known is left out. */
export interface PictureParameters {
  readonly prompt: string;
  readonly negativePrompt?: string;
  readonly steps?: number;
  /** A short name (schedulerAliases), else that of a class; of other tools' samplers, their own name. */
  readonly scheduler?: string;
  readonly guidanceScale?: number;
  readonly guidanceRescale?: number;
  readonly eta?: number;
  /** As in a call: hidden states before the last k layers. */
  readonly clipSkip?: number;
  readonly seed?: number | bigint;
  /** Where one seed drew several pictures at once: how many, and which of them this is, from 0. */
  readonly batchSize?: number;
  readonly batchIndex?: number;
  readonly width?: number;
  readonly height?: number;
  /** Amount of noise mixed into the picture that this one was drawn over. */
  readonly strength?: number;
  /** A hub id or the name of a folder, never its place. */
  readonly model?: string;
  /** The program that drew it. */
  readonly version?: string;
  /** What other tools wrote besides. */
  readonly other?: Readonly<Record<string, string>>;
}
