// @darkroom/core/node: what needs files; everything else of core runs in browsers too.

export { cacheFolder } from './cache-folder.ts';
export { fileTuneStore } from './tune-files.ts';
