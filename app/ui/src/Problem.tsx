import { Alert, Button } from "@mantine/core";
import { ApiError } from "./api";
import { NewToken } from "./Entrance";

/** An error message, with advice on what to do. */
export function Problem({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const refused = error instanceof ApiError && error.status === 401;
  return (
    <Alert role="alert" color="red" variant="outline" my="sm" className="address">
      <p>{error instanceof Error ? error.message : String(error)}</p>
      {refused && (
        <p>
          Log in or use another token. <NewToken />
        </p>
      )}
      {onRetry && !refused && (
        <Button variant="default" onClick={onRetry}>
          Try again
        </Button>
      )}
    </Alert>
  );
}
