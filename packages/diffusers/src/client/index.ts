// @darkroom/diffusers/client: the page's side of a pipeline that runs in a worker. The worker's side is ../worker.

export { createClient } from './client.ts';
export type { Client, ClientOptions, Drawn, DrawnPicture, GenerateOptions } from './client.ts';
export type {
  DeviceReport, DrawSettings, PageImage, PostedLoadOptions, Progress,
} from './messages.ts'; // prettier-ignore
export { cachedModels, clearCache } from '../loading/page/page-cache.ts';
export type { CachedModel } from '../loading/page/page-cache.ts';
