// @darkroom/core/node: what needs files; everything else of core runs in browsers too.

export { atEnd } from './at-end.ts';
export { cacheFolder } from './cache-folder.ts';
export { fileTuneStore } from './tune-files.ts';
export {
  cannotWrite,
  tryWriting,
  writeFilesTogether,
  writeFileWhole,
  writeFileWholeSync,
} from './write-files.ts';
export type { NewFile } from './write-files.ts';
