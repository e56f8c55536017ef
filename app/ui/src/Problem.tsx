import { ApiError } from "./api";
import { NewToken } from "./TokenForm";

/** What went wrong, and what to do about it. */
export function Problem({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const refused = error instanceof ApiError && error.status === 401;
  return (
    <div className="problem" role="alert">
      <p>{error instanceof Error ? error.message : String(error)}</p>
      {refused && (
        <p>
          Forget this token, and use another. <NewToken />
        </p>
      )}
      {onRetry && !refused && (
        <button type="button" onClick={onRetry}>
          Try again
        </button>
      )}
    </div>
  );
}
