package interop;

import java.net.URI;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** RabbitMQ's Java client: runs the cases of the suite and prints one line for each. */
public final class Program {
    private static final long TIME_LIMIT_S = 60;

    private Program() {
    }

    /** Something the broker must do. */
    interface Body {
        void run(Broker broker) throws Exception;
    }

    record Case(String name, Body body) {
    }

    public static void main(String[] arguments) {
        String address = arguments.length > 0 ? arguments[0] : System.getenv("LEVERET_URL");
        Broker broker = new Broker(URI.create(address));
        int failures = run(DeliveryCases.ALL, broker) + run(ContentCases.ALL, broker)
                + run(ErrorCases.ALL, broker) + run(ConnectionCases.ALL, broker);
        // Threads of a failed case must not keep the program.
        Runtime.getRuntime().halt(failures == 0 ? 0 : 1);
    }

    private static int run(List<Case> cases, Broker broker) {
        int failures = 0;
        for (Case one : cases) {
            String problem = outcome(one.body(), broker);
            failures += problem == null ? 0 : 1;
            System.out.println(problem == null ? "ok " + one.name() : "FAILED " + one.name() + ": " + problem);
            System.out.flush();
        }
        return failures;
    }

    /** Null when the case held, otherwise why not. */
    private static String outcome(Body body, Broker broker) {
        ExecutorService executor = Executors.newSingleThreadExecutor();
        Future<?> done = executor.submit(() -> {
            body.run(broker);
            return null;
        });
        try {
            done.get(TIME_LIMIT_S, TimeUnit.SECONDS);
            return null;
        } catch (ExecutionException failure) {
            failure.getCause().printStackTrace();
            return String.valueOf(failure.getCause()).replace('\n', ' ');
        } catch (TimeoutException | InterruptedException late) {
            return "no answer within " + TIME_LIMIT_S + " s";
        } finally {
            executor.shutdownNow();
        }
    }
}
