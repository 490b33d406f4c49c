// What a page's client and its worker say to each other, and nothing else: all of it can be posted.

import type { PictureFormat } from '../image/formats.ts';
import type { LoadOptions } from '../loading/load-options.ts';
import type { PictureParameters } from '../parameters/parameters.ts';
import type { CallOptions } from '../pipelines/options.ts';
import type { PlainError } from './plain-error.ts';

/** A picture that a page gives: a file, pixels (copied), or a bitmap, which the call takes over and closes. */
export type PageImage = Blob | ImageData | ImageBitmap;

/** How a picture is drawn: the options of a pipeline's call that can be posted. */
export interface DrawSettings extends Pick<
  CallOptions,
  | 'negativePrompt'
  | 'numImagesPerPrompt'
  | 'numInferenceSteps'
  | 'timesteps'
  | 'sigmas'
  | 'guidanceScale'
  | 'guidanceRescale'
  | 'eta'
  | 'seed'
  | 'clipSkip'
  | 'width'
  | 'height'
> {
  /** The picture to start from: image to image; with maskImage: inpainting. */
  readonly image?: PageImage;
  /** White is repainted, black is kept. */
  readonly maskImage?: PageImage;
  /** For pictures: the amount of noise mixed in, from 0 to 1. */
  readonly strength?: number;
  /** Format of the files; default 'png'. */
  readonly format?: PictureFormat | 'jpg';
  /** JPEG and WebP: from 1 to 100; default 90. */
  readonly quality?: number;
  /** False: the files do not tell how they were drawn. Default true. */
  readonly parameters?: boolean;
}

/** Options of loading that can be posted. */
export type PostedLoadOptions = Pick<
  LoadOptions,
  | 'dtype'
  | 'weights'
  | 'variant'
  | 'revision'
  | 'token'
  | 'endpoint'
  | 'localFilesOnly'
  | 'cacheBytes'
  | 'etagTimeout'
  | 'downloadTimeout'
>;

/** The device that a worker computes on. */
export interface DeviceReport {
  /** The name that serve() knows it by: 'webgpu', 'cpu'. */
  readonly name: string;
  /** The GPU; or the processor's kernels and threads. */
  readonly description: string;
  /** Why none of the devices before it is used; undefined if it is the first, or was asked for. */
  readonly why?: string;
  /** What would make it faster: a page without cross-origin isolation has one thread. */
  readonly note?: string;
}

/** Progress of opening a model and of drawing. */
export type Progress =
  | { readonly stage: 'device'; readonly device: DeviceReport }
  | { readonly stage: 'download'; readonly file: string; readonly received: number; readonly total: number }
  | { readonly stage: 'load'; readonly component: string; readonly loaded: number; readonly total: number }
  | { readonly stage: 'compile' }
  | { readonly stage: 'draw'; readonly step: number; readonly steps: number };

/** RGBA, rows from the top. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray<ArrayBuffer>;
}

/** A picture as it is posted; the file is a Blob, which is not copied. */
export interface PostedPicture {
  readonly pixels: Pixels;
  readonly file: Blob;
  readonly parameters: PictureParameters | undefined;
}

/** Page → worker. `open` is the first. */
export type Request =
  | {
      readonly type: 'open';
      readonly id: number;
      readonly device: string | undefined;
      readonly model: string | Readonly<Record<string, string>>;
      readonly load: PostedLoadOptions;
    }
  | {
      readonly type: 'draw';
      readonly id: number;
      readonly prompt: string | readonly string[];
      readonly settings: DrawSettings;
      /** Steps between two previews; undefined: none. */
      readonly previewEvery: number | undefined;
    }
  | { readonly type: 'stop'; readonly id: number };

/** Worker → page. Each `open` and `draw` ends in one answer or error of its id. */
export type Reply =
  | { readonly type: 'serving' }
  | { readonly type: 'progress'; readonly id: number; readonly progress: Progress }
  | { readonly type: 'preview'; readonly id: number; readonly pixels: Pixels; readonly step: number }
  | { readonly type: 'opened'; readonly id: number; readonly device: DeviceReport }
  | {
      readonly type: 'drawn';
      readonly id: number;
      readonly pictures: readonly PostedPicture[];
      readonly seeds: readonly (number | bigint)[];
      readonly seconds: number;
    }
  | { readonly type: 'failed'; readonly id: number; readonly error: PlainError };

/** Messages are marked, so that a worker's own are left alone. */
export interface Marked<T> {
  readonly darkroom: T;
}

/** The message in an event; undefined for other programs' messages. */
export function unmarked<T>(data: unknown): T | undefined {
  return typeof data === 'object' && data !== null ? (data as Partial<Marked<T>>).darkroom : undefined;
}
